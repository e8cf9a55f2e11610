import { HttpException, Inject, Injectable } from '@nestjs/common';
import type { Observable } from 'rxjs';
import { eventStreamOf } from './connection/index.js';
import { isResponse, sentContentType, toPlatform } from './http/index.js';
import { streamTo, toFormat, framesOfRefusal } from './stream/index.js';
import type {
  CloseReason,
  ConnectionRegistry,
  ClosingFrames,
  EventStreamResponse,
  SseConnection,
  SseConnections,
} from './connection/index.js';
import type { Platform } from './http/index.js';
import type { StreamEnd, StreamFormat, StreamSource } from './stream/index.js';
import { Runs } from './runs/index.js';
import { MASKED_FAILURE, RepeatedReport, show, SseError, WatchedPromise } from './errors/index.js';
import { isMeantForClient, publicError } from './sse.failure.js';
import { HealthMonitor } from './sse.health.js';
import type { SseHealth } from './sse.health.js';
import { takeMetrics } from './sse.metrics.js';
import type { SseMetrics } from './sse.metrics.js';
import { REGISTRY_OF_SERVICE, RESOLVED_OPTIONS, TICKETS } from './sse.module-definition.js';
import { revocationOf } from './sse.trust-options.js';
import { doneEventOf, resolveSettings } from './sse.options.js';
import type { ResolvedOptions, SseConnectOptions, SseStreamOptions } from './sse.options.js';
import { SsePresence } from './sse.presence.js';
import { transactionOf } from './sse.publish-options.js';
import type { SsePublishOptions } from './sse.publish-options.js';
import { SseReporter } from './sse.reporter.js';
import { SseRuns } from './sse.runs.js';
import { Admission, refuseWithinSseRoute } from './sse.admission.js';
import { SseTickets } from './sse.tickets.js';
import { harmless } from './sse.tracing.js';
import type { SseTracer } from './sse.tracing.js';
import { Revocations } from './trust/index.js';
import type { Tickets } from './trust/index.js';
import { Topics } from './topics/index.js';
import type { TopicEventsOptions } from './topics/index.js';
import { UnwatchedCalls } from './sse.unwatched-calls.js';
import { nameOf, parseTopic } from './wire/index.js';
import type {
  Position,
  SseEventInput,
  TopicEvent,
  TopicEvents,
  TypedEvent,
  TypedPattern,
  TypedTopic,
} from './wire/index.js';

/**
 * The service of `SseModule`: event streams for handlers with `@Res()`, topics, runs, and the open connections of this
 * process. Inject it anywhere.
 *
 * @example
 * ```ts
 * @Controller('answers')
 * class AnswersController {
 *   constructor(private readonly sse: SseService) {}
 *
 *   @Post()
 *   ask(@Body() question: Question, @Res() res: Response) {
 *     return this.sse.stream(res, ({ signal }) => this.model.answer(question, { signal }));
 *   }
 * }
 * ```
 */
@Injectable()
export class SseService {
  /** The open connections of this process, of `@Sse()` routes and of handlers with `@Res()`. */
  readonly connections: SseConnections;
  /** State of the log of the app's topics, for a readiness check. */
  readonly health: SseHealth;
  /** Streams with a name that are recorded while they are produced. Clients attach to them, leave and come back. */
  readonly runs: SseRuns;
  /** Tickets for EventSource, which sends no header. */
  readonly tickets: SseTickets;
  readonly #counting: Parameters<typeof takeMetrics>[0];
  readonly #registry: ConnectionRegistry;
  readonly #admission: Admission;
  readonly #revocations: Revocations;
  readonly #options: ResolvedOptions;
  readonly #reporter: SseReporter;
  readonly #topics: Topics;
  readonly #calls: UnwatchedCalls;

  /** @internal */
  constructor(
    @Inject(REGISTRY_OF_SERVICE) registry: ConnectionRegistry,
    @Inject(RESOLVED_OPTIONS) options: ResolvedOptions,
    @Inject(SseReporter) reporter: SseReporter,
    @Inject(Topics) topics: Topics,
    @Inject(HealthMonitor) health: HealthMonitor,
    @Inject(Runs) runs: Runs,
    @Inject(Admission) admission: Admission,
    @Inject(TICKETS) tickets: Tickets | undefined,
    @Inject(Revocations) revocations: Revocations,
  ) {
    this.#counting = { registry, topics, runs, tickets, revocations };
    this.#revocations = revocations;
    this.connections = registry;
    this.health = health;
    this.#registry = registry;
    this.#admission = admission;
    this.#options = options;
    this.#reporter = reporter;
    this.#topics = topics;
    this.#calls = new UnwatchedCalls(reporter);
    this.runs = new SseRuns(runs, {
      // A client of a format would take a plain end for the end of the answer: without closing frames it is cut.
      open: (platform, settings, headers) =>
        this.#open(platform, settings, { headers, framesOfRefusal: () => undefined }),
      answer,
      answerUnwatched: (res, error) => this.#answerUnwatched(res, error),
      askToReconnect: (platform, settings, leastMs) => this.#askToReconnect(platform, settings, leastMs),
      refuseRevoked: (platform, owner) => admission.refuseRevoked(platform, [owner]),
      isRevoked: (owner) => revocations.isRevoked([owner]),
      reportAway: (error) => topics.reportFailed(error),
      calls: this.#calls,
    });
    this.tickets = new SseTickets(tickets, {
      turnAway: (platform, retryMs, frame) => this.#turnAwayWith(platform, retryMs, frame),
    });
  }

  /**
   * What this process has counted since its start: connections, events, lag, publishes, runs, limits. Each access takes
   * a snapshot. `nestjs-event-stream/prometheus` exports it.
   */
  get metrics(): SseMetrics {
    return takeMetrics(this.#counting);
  }

  /**
   * Begins an event stream: sends the headers at once, then `retry`. Headers that the app has set are kept, except
   * `Content-Type`, `Content-Length`, `Cache-Control`, `X-Accel-Buffering` and `Connection`. Called again for the same
   * response, it returns the same connection.
   *
   * If the client cannot be served, the returned connection is closed already, and sending to it does nothing. That is
   * so if the client has left, if the request is a HEAD, or if a GET was shed.
   *
   * @param res - the response of Express, Fastify or Node, as `@Res()` gives it
   * @param options - settings of this connection; defaults are those of the module
   * @returns the connection of this response
   * @throws SseError `response-invalid` if `res` is no response, or has sent headers with another content type;
   * `options-invalid`
   * @throws ServiceUnavailableException if a request other than GET or HEAD is shed
   */
  connect(res: object, options: SseConnectOptions = {}): SseConnection {
    const connection = this.#open(toPlatform(res), options);
    commitOrRelease(connection);
    return connection.forApp;
  }

  /**
   * Sends one event, or data alone. Begins the stream first, if it has not begun. A request other than GET that is shed
   * is answered with 503 and `Retry-After`.
   *
   * @param res - the response of Express, Fastify or Node, as `@Res()` gives it
   * @param data - an event (an object with `data`, and optionally `type`, `id`, `retry` and `comment`), or data alone
   * @returns whether the client keeps up. Also false, without an error, if the response has ended, or if the event was
   * left out because its content cannot be sent
   * @throws SseError `event-invalid` for a value of a wrong kind, as {@link SseConnection.send}; `response-invalid`
   */
  sendSseMessage(res: object, data: SseEventInput): boolean {
    try {
      return this.connect(res).send(data);
    } catch (error) {
      if (!(error instanceof HttpException)) {
        throw error;
      }
      // Thrown from a timer, as in a controller of most tutorials, it would reach no filter and end the process.
      answerException(toPlatform(res), error);
      return false;
    }
  }

  /**
   * Streams a source to the client. An AsyncIterable or a ReadableStream is pulled as fast as the client reads. An
   * Observable cannot be paused: its connection closes as `slow` when more than `maxBufferedBytes` wait.
   *
   * The headers wait for the first item, 3 s at most. Until then a failure rejects the promise, and Nest's filters
   * answer. A later failure is logged and sent as an `error` event, and the response is cut, so that no client takes it
   * for complete. With a `format`, the stream ends with the format's own error instead.
   *
   * Return or await the promise. If a handler does neither, a failure is logged and answered with a 500.
   *
   * @param res - the response of Express, Fastify or Node, as `@Res()` gives it
   * @param source - called once, with a signal that aborts when the client leaves. It is not called if a GET is shed:
   * the reason is `server` or `shutdown` then
   * @param options - `format`, `doneEvent`, and settings of this connection
   * @returns how the stream ended, once the response is over
   * @throws the error of the source, if it fails before its first item
   * @throws SseError `misuse` if the source gives nothing that can be streamed; `response-invalid`, `options-invalid`
   * @throws ServiceUnavailableException if a request other than GET or HEAD is shed
   */
  stream<T>(res: object, source: StreamSource<T>, options: SseStreamOptions<T> = {}): Promise<StreamEnd> {
    return WatchedPromise.run(
      () => this.#stream(res, source as StreamSource, options as SseStreamOptions),
      (error) => this.#answerUnwatched(res, error),
    );
  }

  /**
   * Publishes an event to a topic. Every client that follows the topic receives it, on every instance that shares the
   * log, in the order of the log.
   *
   * It never throws synchronously: every failure is a rejection. A rejection that nothing awaits, as in a timer or a
   * listener, is logged, each kind once in ten seconds. It never ends the process.
   *
   * With a transaction, the event is there exactly if the transaction commits: await the call inside the transaction.
   * Its rejection is the caller's, and is not logged. It needs `postgres()` as the log.
   *
   * @param topic - a topic, or its name: tokens joined by dots, such as `orders.42`
   * @param event - an event with `data` and optionally `type`, or data alone. Its id is its position in the log. The
   * types `reset` and `cursor`, or their names in `resetEvent` and `cursorEvent`, are reserved
   * @param options - `transaction`: of pg, postgres.js, TypeORM, Drizzle, Kysely, Knex, MikroORM or Prisma, or a
   * function `(sql, params) => rows` that runs a statement in it
   * @returns the position of the event, once the log has it; nothing with a transaction
   * @throws SseError `topic-invalid`, `event-invalid`, `event-too-large`, `closed`, `publish-failed`; with a
   * transaction `misuse` if it is none or the log is not in its database, or the error of the app's database library
   */
  publish<Events extends TopicEvents>(
    topic: TypedTopic<Events>,
    event: TypedEvent<Events>,
    options: SsePublishOptions,
  ): Promise<void>;
  publish(topic: string, event: SseEventInput, options: SsePublishOptions): Promise<void>;
  publish<Events extends TopicEvents>(
    topic: TypedTopic<Events>,
    event: TypedEvent<Events>,
  ): Promise<Position>;
  publish(topic: string, event: SseEventInput): Promise<Position>;
  publish(
    topic: string | TypedTopic<TopicEvents>,
    event: SseEventInput,
    options?: SsePublishOptions,
  ): Promise<Position | void> {
    if (options !== undefined) {
      return this.#publishWithin(topic, event, options);
    }
    return this.#calls.watch('publish()', () => this.#topics.publish(topic, event));
  }

  /** Never watched: the rejection belongs to the caller's transaction. */
  async #publishWithin(
    topic: string | TypedTopic<TopicEvents>,
    event: SseEventInput,
    options: SsePublishOptions,
  ): Promise<void> {
    return this.#topics.publishWithin(transactionOf(options), topic, event);
  }

  /**
   * Follows a pattern in code on the server. Emits events as they are published, beginning at `from`. Completes at
   * `to`, or when the app closes.
   *
   * Missing events do not end it: `onGap` is called, or a warning is logged. While the log is away it waits, and goes
   * on from its place. An Observable with `to` can fail: handle its error.
   *
   * @param pattern - a topic, or a pattern with the wildcards `*` (one token) and `>` (one or more tokens, at the end)
   * @throws SseError `topic-invalid`, `options-invalid`. With `to`, the Observable fails with `log-unavailable` or
   * `closed`
   */
  events<Events extends TopicEvents>(
    pattern: TypedPattern<Events>,
    options?: TopicEventsOptions,
  ): Observable<TopicEvent<TypedEvent<Events>>>;
  events(pattern: string, options?: TopicEventsOptions): Observable<TopicEvent>;
  events(
    pattern: string | TypedPattern<TopicEvents>,
    options: TopicEventsOptions = {},
  ): Observable<TopicEvent<never>> {
    const events: Observable<TopicEvent> = this.#topics.events(pattern, options);
    return events as Observable<TopicEvent<never>>;
  }

  /**
   * Reads the position of the newest event of the log.
   *
   * @throws SseError `log-unavailable`, `closed`
   */
  position(): Promise<Position> {
    return this.#calls.watch('position()', () => this.#topics.position());
  }

  /**
   * Takes the right to streams away from a key: a user, a session, a tenant. On every instance, within a second, what
   * belongs to the key gets `event: revoked` and its end, and runs of that owner are stopped. A GET that comes back is
   * answered with 204, at which an EventSource stops for good, any other request with 403. Resolves when the log has it.
   *
   * If it rejects because the log is away, the key is kept away from this instance all the same, and from the others
   * once the log is back.
   *
   * @param key - as `keyOf` returns it, or a ticket was issued for it: 1 to 512 characters
   * @param options.forMs - how long the key is kept away, in milliseconds, 1 to 2_147_483_647: as long as the user's
   * token is valid. A day by default. A later call can only prolong it
   * @throws SseError `options-invalid`; `misuse` without `keyOf` and `tickets`; `revocations-full`; `publish-failed`,
   * `log-unavailable`, `closed`
   */
  revoke(key: string, options: { forMs?: number } = {}): Promise<void> {
    return this.#calls.watch('revoke()', () => {
      const forMs = revocationOf(key, options);
      return this.#revocations.revoke(key, forMs);
    });
  }

  /**
   * Returns the members of a topic: clients that follow it with the option `presence`, on any instance. Two connections
   * with one id are one member. A member leaves `presence.graceMs` after its last connection has closed, so that a
   * reload, or a deploy, is no change.
   *
   * @param topic - a topic, or its name; no pattern
   * @throws SseError `topic-invalid`
   */
  presence(topic: string | TypedTopic<TopicEvents>): SsePresence {
    const name = nameOf(topic) as string;
    parseTopic(name);
    return new SsePresence(name, this.#topics.presence, this.#calls);
  }

  /**
   * Gives this process a tracer, which makes spans of publishes, of clients that resume, and of runs. A publish that is
   * part of a transaction has none. `nestjs-event-stream/opentelemetry` has a tracer for OpenTelemetry. Without a tracer
   * nothing is allocated for it.
   *
   * @returns a function that takes it away again
   * @throws SseError `misuse` if there is a tracer already
   */
  traceWith(tracer: SseTracer): () => void {
    const { runs } = this.#counting;
    if (runs.tracer) {
      throw new SseError(
        'misuse',
        'traceWith() was called before, and a service has one tracer. Call the function that it returned first, ' +
          'or import SseOpenTelemetryModule with spans: false.',
      );
    }
    const given = harmless(tracer, new RepeatedReport(this.#reporter));
    runs.tracer = given;
    this.#topics.tracer = given;
    return () => {
      if (runs.tracer === given) {
        runs.tracer = undefined;
        this.#topics.tracer = undefined;
      }
    };
  }

  /**
   * Answers with the status 204, after which an EventSource does not reconnect (WHATWG HTML, 9.2.3). Call it instead of
   * {@link connect}: a stream that has begun has sent its status already. Does nothing if the response is over.
   *
   * @param res - the response of Express, Fastify or Node, as `@Res()` gives it
   * @throws SseError `misuse` if the headers are sent; `response-invalid`
   */
  stopReconnecting(res: object): void {
    const platform = toPlatform(res);
    const { raw } = platform;
    if (raw.writableEnded || raw.destroyed) {
      return;
    }
    if (raw.headersSent) {
      throw new SseError(
        'misuse',
        'stopReconnecting() answers with the status 204, and this response has sent its headers. ' +
          'End the stream with close(), and call stopReconnecting() when the client comes back.',
      );
    }
    answer(platform, 204);
  }

  async #stream(
    res: object,
    source: StreamSource,
    { format: wanted, doneEvent: doneName, ...options }: SseStreamOptions,
  ): Promise<StreamEnd> {
    if (typeof source !== 'function') {
      throw new SseError(
        'misuse',
        'stream(res, source) takes a function that makes the source, so that it can be given the signal: ' +
          `({ signal }) => source. Got ${show(source)}.`,
      );
    }
    const doneEvent = doneEventOf({ doneEvent: doneName, format: wanted });
    const format = wanted === undefined ? undefined : toFormat(wanted);
    const platform = toPlatform(res);
    if (format?.headers && platform.raw.headersSent && !platform.raw.writableEnded) {
      throw new SseError(
        'response-invalid',
        `The response has sent its headers, without ${Object.keys(format.headers).join(', ')}, which the format ` +
          'needs. Leave the headers to stream().',
      );
    }
    const closingFrames = format && framesOfRefusal(format, this.#reporter);
    const connection = this.#open(platform, options, {
      headers: format?.headers,
      framesOfRefusal: closingFrames,
    });
    if (connection.isClosed) {
      return { reason: await connection.closed, events: 0, bytes: 0 };
    }
    if (platform.method === 'HEAD') {
      commitOrRelease(connection);
      return { reason: 'done', events: 0, bytes: 0 };
    }
    const { wheel } = this.#registry;
    return streamTo(connection, source, { wheel, publicError, format, doneEvent });
  }

  #open(
    platform: Platform,
    options: SseConnectOptions,
    /** Given for stream() and runs.attach(): the end of such a response means that the answer is complete. */
    answering?: { headers: StreamFormat['headers']; framesOfRefusal: ClosingFrames | undefined },
  ): EventStreamResponse {
    const existing = eventStreamOf(platform.raw);
    if (existing) {
      if (answering) {
        refuseWithinSseRoute(platform);
      }
      return existing;
    }
    const { headersSent, writableEnded } = platform.raw;
    // A response that has ended is sent nothing, whatever its type: its connection is closed from the start.
    const contentType = headersSent && !writableEnded && sentContentType(platform.raw);
    if (contentType && !/^text\/event-stream\b/i.test(contentType)) {
      throw new SseError(
        'response-invalid',
        `The response has sent its headers with the content type ${JSON.stringify(contentType)}, and no client ` +
          'takes that for an event stream. Set text/event-stream, or leave the headers to connect().',
      );
    }
    const init = {
      platform,
      settings: resolveSettings(options, this.#options.connection),
      finite: answering !== undefined || platform.method !== 'GET',
      hasSource: answering !== undefined,
      headers: answering?.headers,
      data: options.data,
    };
    return this.#admission.admit(init, answering?.framesOfRefusal);
  }

  /**
   * Answers a client whose run cannot be read from the log at the moment. With a 503, an EventSource would not
   * reconnect.
   */
  async #askToReconnect(
    platform: Platform,
    options: SseConnectOptions,
    leastMs: number,
  ): Promise<CloseReason> {
    const settings = resolveSettings(options, this.#options.connection);
    // At random, so that not all clients return in the moment in which the log is back.
    const retryMs = leastMs + Math.round(settings.retryMs * (1 + Math.random()));
    return this.#admission.askToReconnect({ platform, settings, finite: true }, retryMs).closed;
  }

  /** Answers a GET that opens no stream with one frame, and the end after some seconds. */
  #turnAwayWith(platform: Platform, retryMs: number, frame: (retryMs: number) => string): void {
    const settings = this.#options.connection;
    // Spread, and never at once: a page that is refused for as long as the log is away would ask without a pause.
    const againMs = Math.max(LEAST_RETRY_MS, Math.round(settings.retryMs * (0.3 + 0.7 * Math.random())));
    const init = { platform, settings, finite: false };
    this.#registry.counts.turnedAway.ticket += 1;
    this.#registry.turnAway(init, { retryMs, reason: 'server' }, () => frame(againMs));
  }

  #answerUnwatched(res: object, error: unknown): void {
    const isHttp = isMeantForClient(error);
    if (!isHttp) {
      this.#reporter.error('A stream that nobody awaits failed; return or await sse.stream().', error);
    }
    // This runs in a turn of its own, where a throw would end the process, and `res` may be no response at all.
    if (!isResponse(res)) {
      return;
    }
    const platform = toPlatform(res);
    if (!platform.raw.headersSent && !platform.raw.writableEnded) {
      answerException(
        platform,
        isHttp ? error : new HttpException(MASKED_FAILURE.message, MASKED_FAILURE.status),
      );
    }
  }
}

// For an app whose `retryMs` is 0.
const LEAST_RETRY_MS = 200;

/**
 * Sends the headers. If Node refuses one, or middleware throws, the response is released and the app's filters answer.
 */
function commitOrRelease(connection: EventStreamResponse): void {
  try {
    connection.commit();
  } catch (error) {
    connection.release();
    throw error;
  }
}

/** Answers with an exception in the form of Nest's own filter. */
function answerException(platform: Platform, exception: HttpException): void {
  const statusCode = exception.getStatus();
  const body = exception.getResponse();
  answer(platform, statusCode, typeof body === 'string' ? { statusCode, message: body } : body);
}

function answer(platform: Platform, status: number, body?: unknown): void {
  const { raw } = platform;
  for (const [name, value] of Object.entries(platform.headersKept())) {
    if (value !== undefined) {
      raw.setHeader(name, value);
    }
  }
  platform.takeOver();
  raw.statusCode = status;
  if (body === undefined) {
    raw.setHeader('Cache-Control', 'no-store');
    raw.end();
    return;
  }
  raw.setHeader('Content-Type', 'application/json; charset=utf-8');
  raw.end(JSON.stringify(body));
}
