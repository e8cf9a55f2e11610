import { randomUUID } from 'node:crypto';
import { show, SseError } from '../errors/index.js';
import type { SseEventInput, TypedEvent, TypedPattern } from '../wire/index.js';
import type { EventStreamResponse } from './event-stream-response.js';
import type { Follow, FollowOptions, Patterns } from './following.js';

/**
 * The open response of one client, and the only writer to it. Frames leave whole and in order, and the memory for a
 * client that does not read is bounded.
 *
 * @example
 * ```ts
 * @Get('clock')
 * clock(@Res() res: Response) {
 *   const connection = this.sse.connect(res);
 *   const timer = setInterval(() => connection.send({ type: 'tick', data: Date.now() }), 1000);
 *   void connection.closed.then(() => clearInterval(timer));
 * }
 * ```
 */
export class SseConnection<Request = unknown> {
  /** The app's own value. This package never reads it. */
  data: unknown;

  readonly #response: EventStreamResponse;
  #id: string | undefined;

  /** @internal */
  constructor(response: EventStreamResponse, data: unknown) {
    this.#response = response;
    this.data = data;
  }

  /** A UUID, unique to this connection. It is not an event id: those come from the app or the log. */
  get id(): string {
    this.#id ??= randomUUID();
    return this.#id;
  }

  /**
   * The framework's request: Express's, Fastify's, or Node's own if `connect()` was given Node's response. Only the app
   * knows its type, and what guards have added to it: write `SseConnection<AuthenticatedRequest>`.
   */
  get request(): Request {
    return this.#response.request as Request;
  }

  /**
   * The keys that the connection belongs to, such as a user and a tenant: what `keyOf` of the module returned for its
   * request. Empty if it returned none.
   */
  get keys(): readonly string[] {
    return this.#response.keys;
  }

  /**
   * The id of the last event that the client has seen: the `Last-Event-ID` header (WHATWG HTML, 9.2.4), or else
   * `?lastEventId=`. Undefined if the client sent none, or one that this package cannot have given.
   */
  get lastEventId(): string | undefined {
    return this.#response.resumeId || undefined;
  }

  /** Aborts when the connection closes, for any reason. Pass it to the code that produces for this client. */
  get signal(): AbortSignal {
    return this.#response.signal;
  }

  /** Resolves with the reason when the connection closes. From then on nothing can be sent. Never rejects. */
  get closed(): Promise<CloseReason> {
    return this.#response.closed;
  }

  /**
   * Sends an event, or data alone.
   *
   * An event whose content cannot be sent is logged and left out. That is an event that is too large, is not JSON (a
   * circle, a BigInt, a `toJSON` that throws), or has a line break in its `type` or an `id` that is not ASCII. Users'
   * data can cause this. An error thrown in a `subscribe`, a timer or a listener would crash the process.
   *
   * @returns whether the client keeps up. False while more bytes wait than its socket takes: {@link drained} resolves
   * when that has passed. Also false for an event that was left out, and always once the connection is closed
   * @throws SseError `event-invalid` for a value of a wrong kind, which is a mistake in the code: bytes, a promise, a
   * stream, a function, a field of the wrong type, an `id` while the connection follows topics. Nothing was written
   */
  send(event: SseEventInput): boolean {
    return this.#response.send(event);
  }

  /**
   * Sends a comment, which clients ignore. Each line of the text becomes one line of the comment.
   *
   * @returns as {@link send}
   * @throws SseError `event-invalid` for a value that is not a string
   */
  comment(text: string): boolean {
    return this.#response.comment(text);
  }

  /** Resolves when the client keeps up again, or when the connection closes. Never rejects. */
  drained(): Promise<void> {
    return this.#response.drained();
  }

  /**
   * Follows topics. The client gets each event that is published to one of them, in the order of the log, and once
   * even if several patterns match. A client that comes back with `Last-Event-ID` gets exactly the events that it
   * missed. If that is impossible, it gets a snapshot, or a `reset` event with the reason.
   *
   * Patterns that are followed before the first frame resume together. Later ones begin at the connection's position.
   *
   * @param patterns - such as `orders.42.status`. `*` stands for one token, `>` at the end for all that follow. Put
   * values from outside through the `topic` template, which escapes them
   * @throws SseError `topic-invalid`
   */
  follow<Events extends object>(
    patterns: TypedPattern<Events> | readonly TypedPattern<Events>[],
    options?: FollowOptions<TypedEvent<Events>>,
  ): Follow;
  follow(patterns: Patterns, options?: FollowOptions): Follow;
  follow(patterns: Patterns, options: FollowOptions<never> = NO_OPTIONS): Follow {
    // The compiler's knowledge of the events ends here: events are checked when they are published.
    return this.#response.follow(patterns, options as FollowOptions);
  }

  /**
   * Moves the end of the client's right to the stream: its token was refreshed. Without a call, a stream with
   * `expiresAt` closes as `expired` then. `maxConnectionMs` stays. Does nothing if the connection is closed.
   *
   * @param expiresAt - the new end, sooner or later than the one before
   * @throws SseError `options-invalid` for a value that is no valid Date
   */
  renew(expiresAt: Date): void {
    if (!(expiresAt instanceof Date) || Number.isNaN(expiresAt.getTime())) {
      throw new SseError('options-invalid', `renew() takes a valid Date, got ${show(expiresAt)}.`, {
        field: 'expiresAt',
      });
    }
    this.#response.renew(expiresAt);
  }

  /**
   * Ends the response after what was sent. An EventSource reconnects after its `retry`. To stop it, answer its next
   * request with `SseService.stopReconnecting(res)`.
   *
   * The client of a POST or a `stream()` takes the answer for complete, unless the stream has a `format`: its closing
   * frames say that the stream was stopped.
   *
   * @param options.retryMs - when the client may come back, in whole milliseconds, 0 or more
   * @throws SseError `event-invalid` for another `retryMs`
   */
  close(options: { retryMs?: number } = {}): void {
    this.#response.finish('server', options.retryMs);
  }
}

/**
 * Why a connection closed.
 *
 * - `client`: the client left, or the network failed.
 * - `server`: the app ended it.
 * - `slow`: more than `maxBufferedBytes` waited for a client that does not read, or more than `maxBurstBytes` were sent
 *   in one turn.
 * - `expired`: `maxConnectionMs` or `expiresAt` has passed, or no `revalidate.check` has succeeded in time.
 * - `revoked`: `SseService.revoke` was called for one of its keys, or a `revalidate.check` did not return true.
 * - `shutdown`: the app is closing.
 * - `error`: the stream behind it failed.
 */
export type CloseReason = 'client' | 'server' | 'slow' | 'expired' | 'revoked' | 'shutdown' | 'error';

const NO_OPTIONS: FollowOptions<never> = Object.freeze({});
