import { Observable } from 'rxjs';
import type { Subscriber } from 'rxjs';
import { eventStreamOf, Follow } from '../connection/index.js';
import { consume } from '../stream/index.js';
import type {
  ConnectionSettings,
  ResponseOwner,
  EventStreamResponse,
  WaitsForHeaders,
} from '../connection/index.js';
import type { Deadline, DeadlineWheel } from '../time/index.js';
import type { ItemConsumer } from '../stream/index.js';
import { announceCoding, isWriteWrapped } from '../http/index.js';
import type { ContentCoding, Platform, RawResponse } from '../http/index.js';
import { exceptionOf, failureEvent, isMeantForClient } from '../sse.failure.js';
import type { Admission } from '../sse.admission.js';
import { settingsFor } from '../sse.options.js';

/**
 * Serves `@Sse()` routes through connections of this package. Nest sends the headers, ends the response, and answers
 * errors before the first event. It subscribes to an Observable that emits nothing.
 */
export class SseServing {
  readonly #admission: Admission;
  readonly #wheel: DeadlineWheel;
  readonly #responses = new WeakMap<EventStreamResponse, NestResponse>();

  constructor(admission: Admission, wheel: DeadlineWheel) {
    this.#admission = admission;
    this.#wheel = wheel;
  }

  /**
   * Opens the connection of a request. It is closed already if the client was turned away and may reconnect.
   *
   * @throws what {@link Admission.admit} throws
   */
  admit(platform: Platform, settings: ConnectionSettings): EventStreamResponse {
    const existing = eventStreamOf(platform.raw);
    if (existing) {
      return existing;
    }
    const response = new NestResponse(platform);
    const finite = platform.method !== 'GET';
    const own = settingsFor(platform.request, settings);
    const init = { platform, settings: own, owner: response, finite, hasSource: finite };
    const connection = this.#admission.admit(init);
    this.#responses.set(connection, response);
    return connection;
  }

  /**
   * Registers a listener for a handler that has not returned yet. It is called once, when something needs the headers,
   * which Nest sends only after the handler.
   */
  whenWanted(connection: EventStreamResponse, listener: () => void): void {
    this.#responses.get(connection)?.whenWanted(listener, this.#wheel);
  }

  /** Makes the Observable that Nest subscribes to in place of the events of a handler. */
  answer(connection: EventStreamResponse, events: Observable<unknown>): Observable<unknown> {
    return new Observable((subscriber) => this.#serve(connection, events, subscriber));
  }

  #serve(
    connection: EventStreamResponse,
    events: Observable<unknown>,
    subscriber: Subscriber<unknown>,
  ): () => void {
    const response = this.#responses.get(connection);
    response?.attach(subscriber);
    // A Follow emits nothing, and completes with the connection.
    const stop =
      events instanceof Follow
        ? () => undefined
        : consume(events, connection, new Sender(connection, subscriber));
    connection.commit();
    return stop;
  }
}

/** Sends the events of a handler. A class uses less memory than closures: each open stream keeps one. */
class Sender implements ItemConsumer {
  readonly #connection: EventStreamResponse;
  readonly #subscriber: Subscriber<unknown>;

  constructor(connection: EventStreamResponse, subscriber: Subscriber<unknown>) {
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
    // As in Nest's filters, an exception that the app throws for its client is no failure to log.
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

// How long the headers wait for a handler that follows topics or awaits the end, and stays busy.
const WAIT_FOR_HANDLER_MS = 1_000;

/**
 * The response of an `@Sse()` route. Nest sends its headers, in a timer after it has subscribed, and ends it when the
 * Observable completes.
 */
class NestResponse implements ResponseOwner {
  readonly #platform: Platform;
  readonly #raw: RawResponse;
  #subscriber: Subscriber<unknown> | undefined;
  #waiting: (() => void)[] = [];
  /** Given if the response may be compressed. */
  #coding: ContentCoding | undefined;
  #isWriteWrapped = false;
  #isCodingAnnounced = false;
  #isDisposed = false;
  /** What has needed the headers before Nest subscribed. */
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
   * Decides whether the headers are sent before the handler returns. A frame is sent now, and so are followed topics of
   * a handler that awaits the end. A handler that only follows, or only awaits the end, may still query something and
   * throw: it gets a moment.
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
    if (this.#isDisposed) {
      subscriber.complete();
      return;
    }
    if (!this.#raw.headersSent) {
      this.#platform.collectHeaders();
      this.#isWriteWrapped = isWriteWrapped(this.#raw);
      swallowLineFeed(this.#raw);
      this.#announceCoding();
    }
    this.#checkHeaders();
  }

  commit(onHeaders: () => void, coding?: ContentCoding): void {
    this.#coding ??= coding;
    this.#waiting.push(onHeaders);
    if (!this.#subscriber) {
      this.#waits.add('headers');
      this.#checkWaits();
      return;
    }
    this.#announceCoding();
    if (this.#waiting.length === 1) {
      this.#checkHeaders();
    }
  }

  #announceCoding(): void {
    if (this.#coding && !this.#isCodingAnnounced && !this.#raw.headersSent) {
      this.#isCodingAnnounced = true;
      announceCoding(this.#raw, this.#coding, this.#isWriteWrapped);
    }
  }

  end(): void {
    this.#subscriber?.complete();
  }

  /**
   * Completes the Observable when the response is over. Nest learns from the socket that a client left, and on HTTP/2
   * the socket outlives the response. On HTTP/1.1 Nest learns it in this turn, after us. It calls `end()` only if the
   * Observable has not completed before, and loggers that wrap `end` wait for that call.
   */
  onDisposed(): void {
    this.#isDisposed = true;
    this.#forgetWanted();
    process.nextTick(() => this.#subscriber?.complete());
  }

  #checkHeaders(): void {
    if (this.#raw.headersSent) {
      const waiting = this.#waiting;
      this.#waiting = [];
      // Each belongs to a connection, which catches what its response throws.
      waiting.forEach((onHeaders) => onHeaders());
    } else if (this.#waiting.length > 0 && !this.#raw.destroyed && !this.#subscriber?.closed) {
      setTimeout(() => this.#checkHeaders(), 0);
    }
  }
}

/**
 * Drops the line feed that Nest writes first: `@microsoft/fetch-event-source` reads it as an empty message. After one
 * write the response has its own `write` again.
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
