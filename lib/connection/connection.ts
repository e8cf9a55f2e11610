import { randomUUID } from 'node:crypto';
import type { SseEventInput, TypedEvent, TypedPattern } from '../wire/index.js';
import type { EventStreamResponse } from './event-stream-response.js';
import type { Follow, FollowOptions, Patterns } from './following.js';

/**
 * One client's open response. It is the only writer to that response: frames leave whole and in
 * order, and a client that does not read is bounded in memory.
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
  /** The app's own; never read by this package. */
  data: unknown;

  readonly #response: EventStreamResponse;
  #id: string | undefined;

  /** @internal */
  constructor(response: EventStreamResponse, data: unknown) {
    this.#response = response;
    this.data = data;
  }

  /** Unique to this connection, a UUID. No event id: those are the app's, or the log's. */
  get id(): string {
    this.#id ??= randomUUID();
    return this.#id;
  }

  /**
   * The framework's request: Express's, Fastify's, or Node's own where that was handed over. Only
   * the app knows which, and what its guards have put there: `SseConnection<AuthenticatedRequest>`.
   */
  get request(): Request {
    return this.#response.request as Request;
  }

  /**
   * What the client says it has seen last: the `Last-Event-ID` header (WHATWG HTML, 9.2.4), else
   * `?lastEventId=`. Undefined if there is none, and if it cannot be an id of ours.
   */
  get lastEventId(): string | undefined {
    return this.#response.resumeId || undefined;
  }

  /** Aborts when the connection closes, whatever the reason. Hand it to whatever produces for this client. */
  get signal(): AbortSignal {
    return this.#response.signal;
  }

  /** Resolves once with the reason, when nothing more can be sent. Never rejects. */
  get closed(): Promise<CloseReason> {
    return this.#response.closed;
  }

  /**
   * Sends an event, or data alone.
   *
   * An event whose content cannot be sent is logged and left out: one that is too large, is not JSON (a circle, a
   * BigInt, a `toJSON` that throws), or has a line break in its `type` or an `id` that is not ASCII. Users' data can
   * cause that, and a throw would end the process where nobody catches: in a `subscribe`, a timer, a listener.
   *
   * @returns whether the client keeps up: false while more waits for it than its socket takes
   * ({@link drained} tells when that is over), false for good once the connection is closed, and false for an event
   * that was left out
   * @throws SseError `event-invalid` for a value of a wrong kind, which is a mistake in the code: bytes, a promise, a
   * stream, a function, a field of the wrong type, an `id` while the connection follows topics. Nothing was written
   */
  send(event: SseEventInput): boolean {
    return this.#response.send(event);
  }

  /**
   * Sends a comment, which clients skip, one line for each of the text's.
   *
   * @returns as {@link send}
   * @throws SseError `event-invalid` for what is no text
   */
  comment(text: string): boolean {
    return this.#response.comment(text);
  }

  /** Resolves when the client has caught up with what was sent, or when the connection closes. Never rejects. */
  drained(): Promise<void> {
    return this.#response.drained();
  }

  /**
   * Follows topics: the client gets each event that is published to one of them, in the order of the
   * log, once however many patterns match. A client that comes back with `Last-Event-ID` gets
   * exactly what it missed, or a snapshot, or a `reset` event that says why it cannot.
   *
   * Patterns that are followed before the first frame resume together; later ones begin where the
   * connection stands.
   *
   * @param patterns `orders.42.status`; `*` stands for one token, `>` at the end for the rest. A
   * value from outside belongs into the `topic` template, which escapes it
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
   * Ends the response after what was sent. An EventSource reconnects after its `retry`; to keep it
   * away, answer its next request with `SseService.stopReconnecting(res)`.
   *
   * It does so for a POST and a `stream()`, too: their client takes what it got for complete, unless
   * the stream has a `format`, which tells it that it was stopped.
   *
   * @param options.retryMs when the client may come back, in whole milliseconds, 0 or more
   * @throws SseError `event-invalid` for another `retryMs`
   */
  close(options: { retryMs?: number } = {}): void {
    this.#response.finish('server', options.retryMs);
  }
}

/**
 * Why a connection is over.
 *
 * - `client`: the client left, or the network between did.
 * - `server`: the app ended it.
 * - `slow`: more than `maxBufferedBytes` waited for a client that does not read, or more than `maxBurstBytes` in one turn.
 * - `expired`: `maxConnectionMs` or `expiresAt` has passed.
 * - `shutdown`: the app is closing.
 * - `error`: the stream behind it failed.
 */
export type CloseReason = 'client' | 'server' | 'slow' | 'expired' | 'shutdown' | 'error';

const NO_OPTIONS: FollowOptions<never> = Object.freeze({});
