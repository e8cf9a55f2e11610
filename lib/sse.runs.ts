import {
  BadRequestException,
  ForbiddenException,
  GoneException,
  HttpException,
  HttpStatus,
  NotFoundException,
  ServiceUnavailableException,
} from '@nestjs/common';
import { setReadableHeader, toPlatform } from './http/index.js';
import type { CloseReason, EventStreamResponse } from './connection/index.js';
import type { Platform } from './http/index.js';
import { checkRunId, checkRunOwner, startSettings } from './runs/index.js';
import type {
  RunBegin,
  RunEnd,
  RunEndReason,
  RunHandOver,
  RunPlace,
  Runs,
  RunSource,
  RunState,
  SseRunOptions,
} from './runs/index.js';
import { show, SseError, WatchedPromise } from './errors/index.js';
import { SHUTDOWN_FAILURE } from './stream/index.js';
import { refuseWithinSseRoute } from './sse.admission.js';
import type { SseAttachOptions } from './sse.options.js';
import { TooManyException } from './sse.filters.js';
import type { UnwatchedCalls } from './sse.unwatched-calls.js';
import { readResumeId, RUN_FAILED_HEADER } from './wire/index.js';

/**
 * Runs: streams with a name that are recorded while they are produced, such as the answer of a model. Clients attach to
 * a run, leave, and come back on any instance that shares the log, and receive all of it. The source is called once,
 * however many clients attach. A run without clients is aborted after `orphanMs`, 60 s by default.
 *
 * A rejection that nothing awaits is logged, each kind once in ten seconds, and never ends the process. A rejection of
 * `attach` that nothing awaits is answered to the client as well.
 *
 * @example
 * ```ts
 * @Controller('api/chat')
 * class ChatController {
 *   constructor(private readonly sse: SseService) {}
 *
 *   @Post()
 *   async ask(@Body() chat: ChatDto, @User() user: UserDto, @Res() res: Response) {
 *     const runs = this.sse.runs.of(user.id);
 *     await runs.start(chat.id, ({ signal }) => this.model.answer(chat, { signal }), { format: 'ai-sdk' });
 *     return runs.attach(res, chat.id);
 *   }
 *
 *   @Get(':id/stream')
 *   resume(@Param('id') id: string, @User() user: UserDto, @Res() res: Response) {
 *     return this.sse.runs.of(user.id).attach(res, id);
 *   }
 * }
 * ```
 */
export class SseRuns {
  readonly #runs: Runs;
  readonly #host: RunsHost;

  /** @internal */
  constructor(runs: Runs, host: RunsHost) {
    this.#runs = runs;
    this.#host = host;
  }

  /**
   * The runs of one owner, usually a user. Two owners may use the same id for two different runs. A client cannot find
   * out whether another owner has a run.
   *
   * @param owner - 1 to 512 characters. Take it from the authenticated user, never from what the client sends
   * @throws SseError `options-invalid`. `undefined` is refused as well: without an owner, every user would see every
   * run
   */
  of(owner: string): SseOwnedRuns {
    checkRunOwner(owner);
    return {
      start: (id, source, options) => this.start(id, source, { ...options, owner }),
      attach: (res, id, options) => this.attach(res, id, { ...options, owner }),
      stop: (id) => this.stop(id, { owner }),
      status: (id) => this.status(id, { owner }),
    };
  }

  /**
   * Starts a run, unless a run with its id and owner is live on any instance. A run that has ended is replaced, unless
   * `ifEnded` or `idempotencyKey` keeps it. The source is called in a later turn of the event loop, and the promise does not wait for it.
   *
   * @param id - name of the run, for the clients that attach to it: 1 to 512 characters
   * @param source - called once, with a signal that aborts when the run ends
   * @returns whether the run was started. It can be attached to in either case
   * @throws SseError `misuse` for a source that is no function; `options-invalid`
   * @throws BadRequestException for an id or an `idempotencyKey` that is not valid
   * @throws HttpException with the status 429 if the owner has reached `limits.runsPerKey` or
   * `limits.runsPerKeyPerMinute`
   * @throws ServiceUnavailableException if the app is closing, produces `runs.maxRuns` runs already, or its log is
   * away. Its cause is an SseError: `closed`, `run-refused`, `log-unavailable` or `publish-failed`
   * @throws ForbiddenException if an instance with version 0.1 has a run of an owner under an id that was given without
   * one; or if the owner is revoked: see `SseService.revoke`
   */
  start<T>(id: string, source: RunSource<T>, options: SseRunOptions<T> = {}): Promise<{ started: boolean }> {
    return this.#host.calls.watch('runs.start()', () =>
      translated(async () => {
        checkSource(source);
        checkRunId(id);
        const { onEnd, ...settings } = startSettings(options);
        if (settings.owner !== undefined && this.#host.isRevoked(settings.owner)) {
          throw new ForbiddenException('The owner of the run is revoked.');
        }
        const started = await this.#runs.start(id, source as RunSource, {
          ...settings,
          onEnd: onEnd && ((end) => onEnd(this.#watchedItems(end))),
        });
        return { started };
      }),
    );
  }

  /**
   * Sends a run to a client: all of it, or what follows its `Last-Event-ID`, and then the rest while it is produced.
   * The response ends with the run. If there is nothing to send, the answer is the status 204.
   *
   * The headers wait for the first event, 3 s at most. If the run fails before that, the answer has the status of the
   * failure. A client with a `Last-Event-ID` gets its headers at once.
   *
   * While the log is away, a GET is answered with an empty stream that has a `retry` and is cut, so that an EventSource
   * reconnects. The reason is `error` then.
   *
   * Return or await the promise. If a handler does neither, a failure is answered all the same.
   *
   * @param res - the response of Express, Fastify or Node, as `@Res()` gives it
   * @param id - the id that the run was started with
   * @param options - `owner`, `ended`, and settings of this connection
   * @returns how the attachment ended, once the response is over
   * @throws BadRequestException for an id that is not valid
   * @throws GoneException if the `Last-Event-ID` belongs to a run that was replaced, or is no id of a run
   * @throws HttpException with the status of a run that failed before its first event; with the status 429 if a request
   * other than GET or HEAD comes while the owner has reached `limits.replayEventsPerKeyPerMinute`
   * @throws ServiceUnavailableException if a request other than GET or HEAD is shed, or the log is away
   * @throws SseError `options-invalid`, `response-invalid`; `misuse` if the response follows topics or another run
   * already
   */
  attach(res: object, id: string, options: SseAttachOptions = {}): Promise<RunAttachmentEnd> {
    return WatchedPromise.run(
      () => translated(() => this.#attach(res, id, options)),
      (error) => this.#host.answerUnwatched(res, error),
    );
  }

  /**
   * Ends a run on whichever instance produces it: the signal of its source aborts, and its clients are told. Resolves
   * when the run is over, so that the next can be started. It waits at most a second for another instance.
   *
   * @returns whether the run was live
   * @throws NotFoundException if the owner has no such run
   * @throws BadRequestException and ServiceUnavailableException as {@link start}
   */
  stop(id: string, options: { owner?: string } = {}): Promise<boolean> {
    return this.#host.calls.watch('runs.stop()', async () => {
      const wasLive = await translated(async () => {
        checkNames(id, options);
        return this.#runs.stop(id, options.owner);
      });
      if (wasLive === undefined) {
        throw new NotFoundException(`There is no run ${show(id)}.`);
      }
      return wasLive;
    });
  }

  /**
   * Reads the state of a run.
   *
   * @returns the state; undefined if the owner has no such run, or has it no longer
   * @throws BadRequestException and ServiceUnavailableException as {@link start}
   */
  status(id: string, options: { owner?: string } = {}): Promise<RunStatus | undefined> {
    return this.#host.calls.watch('runs.status()', () =>
      translated(async () => {
        checkNames(id, options);
        const state = await this.#runs.state(id, options.owner);
        return state && statusOf(state);
      }),
    );
  }

  /**
   * Registers a listener for the end of runs: of all that this instance produces, and of those whose process is gone.
   *
   * It is called at least once for each run: until its promise resolves, so again if it rejects, or if the process dies
   * meanwhile. Save under `key`, so that a second call changes nothing. Register it on every instance, before the app
   * listens: for a run that was started before, only an instance with clients of the run notices the end.
   *
   * @returns a function that removes the listener
   */
  onEnd(listener: (end: RunEnd) => unknown): () => void {
    return this.#runs.onEnd((end) => listener(this.#watchedItems(end)));
  }

  /**
   * Registers a listener for runs that a closing instance hands over: those started with `onShutdown: 'hand-over'`.
   * Start the run again under its id and owner, and it goes on in the same answer. Several instances may be called for
   * the same run. If none starts it within about twice `leaseMs`, it ends as `shutdown`.
   *
   * @returns a function that removes the listener
   */
  onHandOver(listener: (run: RunHandOver) => unknown): () => void {
    return this.#runs.onHandOver((run) => listener(this.#watchedItems(run)));
  }

  /** Wraps `items`, so that a rejection that nothing awaits is logged. */
  #watchedItems<R extends RunEnd | RunHandOver>(run: R): R {
    return { ...run, items: () => this.#host.calls.watch('items()', () => run.items()) };
  }

  async #attach(
    res: object,
    id: string,
    { owner, ended, ...options }: SseAttachOptions,
  ): Promise<RunAttachmentEnd> {
    const platform = toPlatform(res);
    refuseWithinSseRoute(platform);
    forbidCaching(platform);
    checkNames(id, { owner });
    if (owner !== undefined) {
      this.#host.refuseRevoked(platform, owner);
    }
    const lastEventId = lastEventIdOf(platform);
    // A client that has a part of the answer gets the rest: without the last frame it would never be complete.
    const isNone = (begin: RunBegin) =>
      lastEventId === undefined && (ended ?? defaultOfEnded(platform, begin)) === 'none';
    let found: RunPlace | undefined;
    try {
      found = await this.#runs.find(id, {
        owner,
        lastEventId,
        mustKnowEnd: isNone,
      });
    } catch (error) {
      if (!isTemporary(error) || platform.raw.headersSent) {
        throw error;
      }
      const waitMs = error.retryAfterMs ?? 0;
      if (!isRepeatable(platform)) {
        setReadableHeader(platform, 'Retry-After', String(Math.ceil(waitMs / 1000) || RETRY_AFTER_S));
        throw error;
      }
      if (error.code !== 'run-refused') {
        this.#host.reportAway(error);
      }
      return { reason: await this.#host.askToReconnect(platform, options, waitMs), events: 0, bytes: 0 };
    }
    if (!found || found.hasNothingMore || (found.hasEnded && isNone(found.run.begin))) {
      this.#host.answer(platform, 204);
      return { reason: 'none', events: 0, bytes: 0 };
    }
    const connection = this.#host.open(platform, options, found.run.begin.headers);
    if (connection.isClosed && (await connection.closed) !== 'client') {
      return { reason: await connection.closed, events: 0, bytes: 0 };
    }
    if (platform.method === 'HEAD') {
      connection.commit();
      return { reason: 'ended', events: 0, bytes: 0 };
    }
    const follower = await this.#runs.attach(connection, found);
    const outcome = await follower.outcome;
    if (outcome.kind === 'failed') {
      const { message, status = 500 } = outcome.failure;
      // A client that comes back after such a status would get it again and again.
      setReadableHeader(platform, RUN_FAILED_HEADER, '1');
      throw new HttpException(message, status);
    }
    const { events, bytes, hasEnded } = follower;
    const reason = await connection.closed;
    const wasDelivered = await connection.disposed;
    return { reason: hasEnded ? (wasDelivered ? 'ended' : 'client') : reason, events, bytes };
  }
}

/** The runs of one owner: see {@link SseRuns.of}. */
export interface SseOwnedRuns {
  /** As {@link SseRuns.start}, for this owner. */
  start<T>(
    id: string,
    source: RunSource<T>,
    options?: Omit<SseRunOptions<T>, 'owner'>,
  ): Promise<{ started: boolean }>;
  /** As {@link SseRuns.attach}, for a run of this owner. */
  attach(res: object, id: string, options?: Omit<SseAttachOptions, 'owner'>): Promise<RunAttachmentEnd>;
  /** As {@link SseRuns.stop}, for a run of this owner. */
  stop(id: string): Promise<boolean>;
  /** As {@link SseRuns.status}, for a run of this owner. */
  status(id: string): Promise<RunStatus | undefined>;
}

/** How the attachment of a client to a run ended. */
export interface RunAttachmentEnd {
  /**
   * - `ended`: the client has received the run to its end, whatever the outcome of the run.
   * - `none`: there was nothing to send, and the answer was the status 204.
   * - otherwise why the connection closed before the end.
   */
  reason: 'ended' | 'none' | CloseReason;
  /** Events sent, including those that tell the end. */
  events: number;
  /** UTF-8 bytes of their frames. */
  bytes: number;
}

/** State of a run. */
export interface RunStatus {
  readonly id: string;
  /** Unique to this run. A later run with the same id has another key. */
  readonly key: string;
  /** `handed-over`: the instance that produced the run has closed, and no other has taken it over yet. */
  readonly state: 'live' | 'handed-over' | 'ended';
  readonly startedAt: Date;
  readonly owner?: string;
  /** Name of the format, if the run has a built-in one. */
  readonly format?: string;
  /** Why the run ended; only if it has ended. */
  readonly reason?: RunEndReason;
  /** Events of the answer; only if the run has ended. */
  readonly events?: number;
  /** UTF-8 bytes of the data of these events; only if the run has ended. */
  readonly bytes?: number;
}

/** The service, as its runs see it. */
export interface RunsHost {
  readonly calls: UnwatchedCalls;
  open(
    platform: Platform,
    options: SseAttachOptions,
    headers: Readonly<Record<string, string>> | undefined,
  ): EventStreamResponse;
  /** Answers without a stream. */
  answer(platform: Platform, status: number): void;
  /** Answers a GET with a stream that ends at once and asks the client to reconnect, after `leastMs` at the earliest. */
  askToReconnect(platform: Platform, options: SseAttachOptions, leastMs: number): Promise<CloseReason>;
  /** @throws HttpException if the owner is revoked */
  refuseRevoked(platform: Platform, owner: string): void;
  isRevoked(owner: string): boolean;
  answerUnwatched(res: object, error: unknown): void;
  reportAway(error: unknown): void;
}

/** Seconds after which a client that does not reconnect by itself may try again: about the time of a failover. */
const RETRY_AFTER_S = 5;

/**
 * Forbids caches to keep the answer. A browser could otherwise show an old answer after another run has begun, or after
 * the run is gone.
 */
function forbidCaching(platform: Platform): void {
  if (!platform.raw.headersSent && !platform.raw.writableEnded) {
    platform.setHeader('Cache-Control', 'no-store');
  }
}

/** Whether the request may come from an EventSource, or from another client that reconnects by itself. */
function isRepeatable({ method }: Platform): boolean {
  return method === 'GET' || method === 'HEAD';
}

const TEMPORARY: readonly string[] = ['log-unavailable', 'closed', 'run-refused'];

/** Whether the failure is temporary, and not caused by what the client asked for. */
function isTemporary(error: unknown): error is SseError {
  return error instanceof SseError && TEMPORARY.includes(error.code);
}

/**
 * Refuses a source that is no function.
 *
 * @throws SseError `misuse`
 */
function checkSource(source: unknown): void {
  if (typeof source !== 'function') {
    throw new SseError(
      'misuse',
      'runs.start(id, source) takes a function that makes the source, so that it can be given the signal: ' +
        `({ signal }) => source. Got ${show(source)}.`,
    );
  }
}

/**
 * Checks the id and the owner of a run.
 *
 * @throws SseError `options-invalid`
 */
function checkNames(id: string, { owner }: { owner?: string | undefined }): void {
  checkRunId(id);
  if (owner !== undefined) {
    checkRunOwner(owner);
  }
}

/** Default of `ended`. A client of the AI SDK that comes back after the end has loaded the saved answer already. */
function defaultOfEnded(platform: Platform, { format }: RunBegin): 'replay' | 'none' {
  return format === 'ai-sdk' && platform.method === 'GET' ? 'none' : 'replay';
}

function lastEventIdOf({ rawRequest }: Platform): string | undefined {
  return readResumeId(rawRequest.headers['last-event-id'], rawRequest.url);
}

function statusOf({ id, epoch, begin, ending, handedOverAt }: RunState): RunStatus {
  const { owner, format, startedAt } = begin;
  return {
    id,
    key: epoch,
    state: ending ? 'ended' : handedOverAt === undefined ? 'live' : 'handed-over',
    startedAt: new Date(startedAt),
    ...(owner === undefined ? {} : { owner }),
    ...(format === undefined ? {} : { format }),
    ...(ending ? { reason: ending.reason, events: ending.events, bytes: ending.bytes } : {}),
  };
}

/** The log cannot be had, or this process stood still for so long that it has lost its lease. */
const LOG_FAILURES: readonly string[] = ['log-unavailable', 'publish-failed', 'lease-lost'];

const REPLAY_LIMIT = 'limits.replayEventsPerKeyPerMinute';
// Clients choose them: a wrong one is a bad request, and no mistake of the app.
const FIELDS_OF_CLIENTS: readonly unknown[] = ['id', 'idempotencyKey'];

/** Runs a task. Turns what a client did wrong, or came too late for, into an exception that Nest answers. */
async function translated<T>(task: () => Promise<T>): Promise<T> {
  try {
    return await task();
  } catch (error) {
    throw error instanceof SseError ? exceptionOf(error) : error;
  }
}

function exceptionOf(error: SseError): Error {
  const options = { cause: error };
  if (error.code === 'run-forbidden') {
    return new ForbiddenException(error.message, options);
  }
  if (error.code === 'run-replaced') {
    return new GoneException(error.message, options);
  }
  if (error.code === 'options-invalid' && FIELDS_OF_CLIENTS.includes(error.field)) {
    return new BadRequestException(error.message, options);
  }
  if (error.code === 'run-refused') {
    const isOfOwner = error.field?.startsWith('limits.') === true;
    const status = isOfOwner ? HttpStatus.TOO_MANY_REQUESTS : HttpStatus.SERVICE_UNAVAILABLE;
    const what = error.field === REPLAY_LIMIT ? 'Too much was read again' : 'Too many answers are being made';
    return new TooManyException(`${what}. Try again later.`, status, {
      cause: error,
      retryAfterMs: error.retryAfterMs ?? 0,
    });
  }
  if (error.code === 'closed') {
    return new ServiceUnavailableException(SHUTDOWN_FAILURE.message, options);
  }
  // The message names the engine, which is not for clients.
  return LOG_FAILURES.includes(error.code)
    ? new ServiceUnavailableException('The answer cannot be had at the moment. Try again.', options)
    : error;
}
