import { HttpException, Inject, Injectable } from '@nestjs/common';
import type { Observable } from 'rxjs';
import { connectionOf } from './connection/index.js';
import { isResponse, sentContentType, toPlatform } from './http/index.js';
import { streamTo, toFormat, wordsOfRefusal } from './stream/index.js';
import type {
  CloseReason,
  ConnectionRegistry,
  LastWords,
  SseConnection,
  SseConnections,
} from './connection/index.js';
import type { Platform } from './http/index.js';
import type { StreamEnd, StreamFormat, StreamSource } from './stream/index.js';
import { Runs } from './runs/index.js';
import { MASKED_FAILURE, show, SseError, WatchedPromise } from './errors/index.js';
import { isMeantForClient, publicError } from './sse.failure.js';
import { HealthMonitor } from './sse.health.js';
import type { SseHealth } from './sse.health.js';
import { REGISTRY_OF_SERVICE, RESOLVED_OPTIONS } from './sse.module-definition.js';
import { doneEventOf, resolveSettings } from './sse.options.js';
import type { ResolvedOptions, SseConnectOptions, SseStreamOptions } from './sse.options.js';
import { SseReporter } from './sse.reporter.js';
import { SseRuns } from './sse.runs.js';
import { admit, refuseWithinSseRoute, askToReconnect } from './sse.admission.js';
import { Topics } from './topics/index.js';
import type { TopicEvents, TopicEventsOptions, TypedTopic } from './topics/index.js';
import { UnwatchedCalls } from './sse.unwatched-calls.js';
import type { Position, SseEventInput, TopicEvent, TypedEvent, TypedPattern } from './wire/index.js';

/**
 * Server-Sent Events for handlers with `@Res()`, and the connections of this process.
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
  /** The open connections, of both endpoint styles. */
  readonly connections: SseConnections;
  /** How the log of the app's topics fares, for a readiness check. */
  readonly health: SseHealth;
  /** Streams with a name, recorded as they are made, that clients attach to. */
  readonly runs: SseRuns;
  readonly #registry: ConnectionRegistry;
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
  ) {
    this.connections = registry;
    this.health = health;
    this.#registry = registry;
    this.#options = options;
    this.#reporter = reporter;
    this.#topics = topics;
    this.#calls = new UnwatchedCalls(reporter);
    this.runs = new SseRuns(runs, {
      // One that is turned away is cut where it would take the end for that of the answer.
      open: (platform, settings, headers) =>
        this.#open(platform, settings, { headers, wordsOfRefusal: () => undefined }),
      answer,
      answerUnwatched: (res, error) => this.#answerUnwatched(res, error),
      askToReconnect: (platform, settings) => this.#askToReconnect(platform, settings),
      reportAway: (error) => topics.reportFailed(error),
      calls: this.#calls,
    });
  }

  /**
   * Begins an event stream: sends its headers at once, then `retry`. Headers that the app has set
   * are kept, except `Content-Type`, `Content-Length`, `Cache-Control`, `X-Accel-Buffering` and `Connection`. Called again for the same response, it returns the same connection.
   *
   * Where the client cannot be served, the connection that is returned is closed, and sending to it
   * does nothing: it has left, it asked for the headers alone (HEAD), or a GET was shed.
   *
   * @param res the response of Express, Fastify or Node, as `@Res()` gives it
   * @throws SseError `response-invalid`, `options-invalid`
   * @throws ServiceUnavailableException where a request other than GET is shed
   */
  connect(res: object, options: SseConnectOptions = {}): SseConnection {
    const connection = this.#open(toPlatform(res), options);
    commitOrRelease(connection);
    return connection;
  }

  /**
   * Sends one event, or data alone, and begins the stream first where nobody has. A request other
   * than GET that is shed is answered with 503 and `Retry-After`.
   *
   * @returns whether the client keeps up; false once the response has ended, which is no error, and for an event that
   * was left out because its content cannot be sent
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
   * Streams a source to the client. An AsyncIterable or a ReadableStream is pulled as the client
   * reads; an Observable ends as `slow` when more than `maxBufferedBytes` wait.
   *
   * The headers wait for the first item, 3 s at most, so that a failure before it rejects and is
   * answered by Nest's filters. A later one is logged, sent as an `error` event, and the response
   * is cut, so that no client takes it for complete; with a `format` it is the format's own error,
   * and the end. Return or await the promise: where a handler does neither, the failure is answered
   * with a 500.
   *
   * @param source called once, with a signal that aborts the moment the client leaves
   * Where a GET is shed, the source is not called, and the reason is `server` or `shutdown`.
   *
   * @returns how it ended, once the response is over
   * @throws whatever the source failed with before its first item; SseError `misuse` where it gives
   * nothing that can be streamed, `response-invalid`, `options-invalid`
   * @throws ServiceUnavailableException where a request other than GET is shed
   */
  stream<T>(res: object, source: StreamSource<T>, options: SseStreamOptions<T> = {}): Promise<StreamEnd> {
    return WatchedPromise.run(
      () => this.#stream(res, source as StreamSource, options as SseStreamOptions),
      (error) => this.#answerUnwatched(res, error),
    );
  }

  /**
   * Publishes an event to a topic: it reaches everyone who follows it, on every instance that shares
   * the log, in the order in which the log took it.
   *
   * It never throws at once: all that goes wrong is a rejection. One that nothing awaits, as in a timer or a
   * listener, is logged, each kind once in ten seconds, and harms nobody.
   *
   * @param event an event with `data` and `type`, or data alone; its id is its position in the log. The types
   * `reset` and `cursor`, or what `resetEvent` and `cursorEvent` call them, are the module's own
   * @returns the position, once the log has it
   * @throws SseError `topic-invalid`, `event-invalid`, `event-too-large`, `closed`, `publish-failed`
   */
  publish<Events extends TopicEvents>(
    topic: TypedTopic<Events>,
    event: TypedEvent<Events>,
  ): Promise<Position>;
  publish(topic: string, event: SseEventInput): Promise<Position>;
  publish(topic: string | TypedTopic<TopicEvents>, event: SseEventInput): Promise<Position> {
    return this.#calls.watch('publish()', () => this.#topics.publish(topic, event));
  }

  /**
   * The events of a pattern, for code on the server. They come as they are published, from `from` on; it completes as
   * the app closes, or at `to`.
   *
   * A gap does not end it: `onGap` tells of events that are missing and cannot be replayed, else a warning does. While
   * the log is away it waits, and goes on where it was. Only what has an end, `to`, fails: await it.
   *
   * @throws SseError `topic-invalid`, `options-invalid`; the Observable fails with `log-unavailable` or `closed` if it
   * has a `to`
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
   * The position of the newest event of the log.
   *
   * @throws SseError `log-unavailable`, `closed`
   */
  position(): Promise<Position> {
    return this.#calls.watch('position()', () => this.#topics.position());
  }

  /**
   * Answers 204, at which an EventSource stops for good (WHATWG HTML, 9.2.3). Call it instead of
   * {@link connect}: a stream that has begun has its status already.
   *
   * @throws SseError `misuse` where the headers are out
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
    const words = format && wordsOfRefusal(format, this.#reporter);
    const connection = this.#open(platform, options, { headers: format?.headers, wordsOfRefusal: words });
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
    /** Where the end of the response means that it is complete. */
    answering?: { headers: StreamFormat['headers']; wordsOfRefusal: LastWords | undefined },
  ): SseConnection {
    const existing = connectionOf(platform.raw);
    if (existing) {
      if (answering) {
        refuseWithinSseRoute(platform);
      }
      return existing;
    }
    const { headersSent, writableEnded } = platform.raw;
    // One that has ended, whatever its type, is sent nothing: the connection is closed from the start.
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
    return admit(this.#registry, init, answering?.wordsOfRefusal);
  }

  /** As a client of topics is told to whom the log cannot give its place: an EventSource stops for good at a 503. */
  async #askToReconnect(platform: Platform, options: SseConnectOptions): Promise<CloseReason> {
    const settings = resolveSettings(options, this.#options.connection);
    // Not all of them in the moment in which the log is back.
    const retryMs = Math.round(settings.retryMs * (1 + Math.random()));
    return askToReconnect(this.#registry, { platform, settings, finite: true }, retryMs).closed;
  }

  #answerUnwatched(res: object, error: unknown): void {
    const isHttp = isMeantForClient(error);
    if (!isHttp) {
      this.#reporter.error('A stream that nobody awaits failed; return or await sse.stream().', error);
    }
    // Called in a turn of its own: what was given as the response may be none, and a throw would end the process.
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

/** Where a header is refused, or middleware throws at it, the app's filters answer. */
function commitOrRelease(connection: SseConnection): void {
  try {
    connection.commit();
  } catch (error) {
    connection.release();
    throw error;
  }
}

/** As Nest's own filter does. */
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
