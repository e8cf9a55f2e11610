import { Observable } from 'rxjs';
import type { Subscriber } from 'rxjs';
import { connectionOf, Follow } from '../connection/index.js';
import { consume } from '../stream/index.js';
import type {
  ConnectionRegistry,
  ConnectionSettings,
  ResponseOwner,
  SseConnection,
  WaitsForHeaders,
} from '../connection/index.js';
import type { Deadline, DeadlineWheel } from '../time/index.js';
import type { ItemConsumer } from '../stream/index.js';
import type { Platform, RawResponse } from '../http/index.js';
import { exceptionOf, failureEvent, isMeantForClient } from '../sse.failure.js';
import { admit } from '../sse.admission.js';

/**
 * Serves `@Sse()` routes through our connection. Nest commits the headers, ends the response, and
 * answers errors that come before the first event; it is handed a stream that emits nothing.
 */
export class SseServing {
  readonly #registry: ConnectionRegistry;
  readonly #responses = new WeakMap<SseConnection, NestResponse>();

  constructor(registry: ConnectionRegistry) {
    this.#registry = registry;
  }

  /**
   * The connection of a request, which is closed already where a client that would come back was
   * turned away.
   *
   * @throws ServiceUnavailableException where any other is shed
   */
  admit(platform: Platform, settings: ConnectionSettings): SseConnection {
    const existing = connectionOf(platform.raw);
    if (existing) {
      return existing;
    }
    const response = new NestResponse(platform);
    const finite = platform.method !== 'GET';
    const init = { platform, settings, owner: () => response, finite, hasSource: finite };
    const connection = admit(this.#registry, init);
    this.#responses.set(connection, response);
    return connection;
  }

  /**
   * Calls once when something waits for the headers while Nest waits for the handler, and the headers with it: to be
   * called for a handler that has not returned yet.
   */
  whenWanted(connection: SseConnection, listener: () => void): void {
    this.#responses.get(connection)?.whenWanted(listener, this.#registry.wheel);
  }

  /** What Nest is to subscribe to in place of a handler's events. */
  answer(connection: SseConnection, events: Observable<unknown>): Observable<unknown> {
    return new Observable((subscriber) => this.#serve(connection, events, subscriber));
  }

  #serve(
    connection: SseConnection,
    events: Observable<unknown>,
    subscriber: Subscriber<unknown>,
  ): () => void {
    const response = this.#responses.get(connection);
    response?.attach(subscriber);
    // It emits nothing, and ends with the connection.
    const stop =
      events instanceof Follow
        ? () => undefined
        : consume(events, connection, new Sender(connection, subscriber));
    connection.commit();
    return stop;
  }
}

/** Sends a handler's events. A class, not a handful of functions: each open stream keeps one. */
class Sender implements ItemConsumer {
  readonly #connection: SseConnection;
  readonly #subscriber: Subscriber<unknown>;

  constructor(connection: SseConnection, subscriber: Subscriber<unknown>) {
    this.#connection = connection;
    this.#subscriber = subscriber;
  }

  next(event: unknown): void {
    this.#connection.sendItem(event as object);
  }

  error(cause: unknown): void {
    const connection = this.#connection;
    const error = exceptionOf(cause);
    if (connection.isClosed) {
      return;
    }
    if (!connection.hasBegun) {
      connection.release();
      this.#subscriber.error(error);
      return;
    }
    // As in Nest's filters: what the app throws for its clients is no failure to log.
    if (!isMeantForClient(error)) {
      connection.reporter.error('The stream of an @Sse() handler failed.', error);
    }
    connection.sendFailure(failureEvent(error));
    connection.finish('error');
  }

  complete(): void {
    this.#connection.finish('server');
  }
}

// A handler that follows, or awaits the end, and does not return within this time: its client gets the headers now.
const WAIT_FOR_HANDLER_MS = 1_000;

/**
 * Nest commits the headers, on a timer of its own once it has subscribed, and ends the response
 * when what it subscribed to completes.
 */
class NestResponse implements ResponseOwner {
  readonly #platform: Platform;
  readonly #raw: RawResponse;
  #subscriber: Subscriber<unknown> | undefined;
  #waiting: (() => void)[] = [];
  #isOver = false;
  /** What has waited for the headers before Nest subscribed. */
  readonly #waits = new Set<WaitsForHeaders | 'headers'>();
  #wanted: { readonly listener: () => void; readonly wheel: DeadlineWheel } | undefined;
  #deadline: Deadline | undefined;

  constructor(platform: Platform) {
    this.#platform = platform;
    this.#raw = platform.raw;
  }

  whenWanted(listener: () => void, wheel: DeadlineWheel): void {
    this.#wanted = { listener, wheel };
    this.#checkWaits();
  }

  onWaiting(what: WaitsForHeaders): void {
    if (!this.#subscriber) {
      this.#waits.add(what);
      this.#checkWaits();
    }
  }

  /**
   * A frame that waits is sent now, as is what a handler follows that awaits the end. A handler that only follows, or
   * only listens for the end, may still look something up and throw: it is given a moment.
   */
  #checkWaits(): void {
    if (!this.#wanted || this.#waits.size === 0) {
      return;
    }
    const { wheel } = this.#wanted;
    const isFollowedToTheEnd = this.#waits.has('feed') && this.#waits.has('end');
    if (this.#waits.has('frame') || this.#waits.has('headers') || isFollowedToTheEnd) {
      this.#want();
    } else {
      this.#deadline ??= wheel.schedule(WAIT_FOR_HANDLER_MS, () => this.#want());
    }
  }

  #want(): void {
    const wanted = this.#wanted;
    this.#forgetWanted();
    wanted?.listener();
  }

  #forgetWanted(): void {
    this.#wanted?.wheel.cancel(this.#deadline);
    this.#wanted = undefined;
    this.#deadline = undefined;
  }

  attach(subscriber: Subscriber<unknown>): void {
    this.#subscriber = subscriber;
    this.#forgetWanted();
    if (this.#isOver) {
      subscriber.complete();
      return;
    }
    if (!this.#raw.headersSent) {
      this.#platform.collectHeaders();
      swallowLineFeed(this.#raw);
    }
    this.#checkHeaders();
  }

  commit(onHeaders: () => void): void {
    this.#waiting.push(onHeaders);
    if (!this.#subscriber) {
      this.#waits.add('headers');
      this.#checkWaits();
    } else if (this.#waiting.length === 1) {
      this.#checkHeaders();
    }
  }

  end(): void {
    this.#subscriber?.complete();
  }

  /**
   * Nest hears of a client that left from the socket, and on HTTP/2 that outlives the response. On HTTP/1.1 it hears in
   * this same turn, after us, and calls `end()` only if it was not told before: loggers that wrap `end` wait for that.
   */
  onOver(): void {
    this.#isOver = true;
    this.#forgetWanted();
    process.nextTick(() => this.#subscriber?.complete());
  }

  #checkHeaders(): void {
    if (this.#raw.headersSent) {
      const waiting = this.#waiting;
      this.#waiting = [];
      // Each is a connection's own, which catches what its response throws.
      waiting.forEach((onHeaders) => onHeaders());
    } else if (this.#waiting.length > 0 && !this.#raw.destroyed && !this.#subscriber?.closed) {
      setTimeout(() => this.#checkHeaders(), 0);
    }
  }
}

/**
 * Drops the line feed that Nest writes first: `@microsoft/fetch-event-source` takes it for an empty message. After one
 * write the response has the `write` again that it had.
 */
function swallowLineFeed(raw: RawResponse): void {
  const write = Reflect.get<RawResponse, 'write'>(raw, 'write');
  let isFirst = true;
  const swallowing = function (this: RawResponse, ...args: Parameters<RawResponse['write']>): boolean {
    const isLineFeed = isFirst && String(args[0]) === '\n';
    isFirst = false;
    if (raw.write === swallowing) {
      raw.write = write;
    }
    return isLineFeed || Reflect.apply(write, this, args);
  };
  raw.write = swallowing;
}
