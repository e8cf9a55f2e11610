import { HttpException } from '@nestjs/common';
import { Observable } from 'rxjs';
import type { Subscriber } from 'rxjs';
import { connectionOf, consume, Follow } from './connection/index.js';
import type {
  ConnectionRegistry,
  ConnectionSettings,
  ItemConsumer,
  Platform,
  RawResponse,
  ResponseOwner,
  SseConnection,
} from './connection/index.js';
import { failureEvent } from './sse.failure.js';
import { shedException } from './sse.shed.js';

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
    const response = new NestResponse(platform.raw);
    const finite = platform.method !== 'GET';
    const init = { platform, settings, owner: () => response, finite, hasSource: finite };
    const refusal = this.#registry.refusal();
    if (refusal && platform.method !== 'GET' && platform.method !== 'HEAD' && !platform.raw.headersSent) {
      throw shedException(platform, refusal);
    }
    const connection = refusal ? this.#registry.turnAway(init, refusal) : this.#registry.admit(init);
    this.#responses.set(connection, response);
    return connection;
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
    this.#responses.get(connection)?.attach(subscriber);
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

  error(error: unknown): void {
    const connection = this.#connection;
    if (connection.isClosed) {
      return;
    }
    if (!connection.hasBegun) {
      connection.release();
      this.#subscriber.error(error);
      return;
    }
    // As in Nest's filters: what the app throws for its clients is no failure to log.
    if (!(error instanceof HttpException)) {
      connection.reporter.error('The stream of an @Sse() handler failed.', error);
    }
    connection.sendFailure(failureEvent(error));
    connection.finish('error');
  }

  complete(): void {
    this.#connection.finish('server');
  }
}

/**
 * Nest commits the headers, on a timer of its own once it has subscribed, and ends the response
 * when what it subscribed to completes.
 */
class NestResponse implements ResponseOwner {
  readonly #raw: RawResponse;
  #subscriber: Subscriber<unknown> | undefined;
  #waiting: (() => void)[] = [];
  #isOver = false;

  constructor(raw: RawResponse) {
    this.#raw = raw;
  }

  attach(subscriber: Subscriber<unknown>): void {
    this.#subscriber = subscriber;
    if (this.#isOver) {
      subscriber.complete();
      return;
    }
    this.#look();
  }

  commit(onHeaders: () => void): void {
    this.#waiting.push(onHeaders);
    if (this.#subscriber && this.#waiting.length === 1) {
      this.#look();
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
    process.nextTick(() => this.#subscriber?.complete());
  }

  #look(): void {
    if (this.#raw.headersSent) {
      const waiting = this.#waiting;
      this.#waiting = [];
      // Each is a connection's own, which catches what its response throws.
      waiting.forEach((onHeaders) => onHeaders());
    } else if (this.#waiting.length > 0 && !this.#raw.destroyed && !this.#subscriber?.closed) {
      setTimeout(() => this.#look(), 0);
    }
  }
}
