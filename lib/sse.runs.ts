import {
  BadRequestException,
  ForbiddenException,
  GoneException,
  HttpException,
  NotFoundException,
  ServiceUnavailableException,
} from '@nestjs/common';
import { toPlatform } from './http/index.js';
import type { CloseReason, SseConnection } from './connection/index.js';
import type { Platform } from './http/index.js';
import { checkRunId, checkRunOwner, runSettings } from './runs/index.js';
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
import { refuseWithinSseRoute } from './sse.admission.js';
import type { SseAttachOptions } from './sse.options.js';
import type { UnwatchedCalls } from './sse.unwatched-calls.js';
import { readResumeId } from './wire/index.js';

/** How a client came away from a run. */
export interface RunAttachmentEnd {
  /**
   * `ended`: it has got the run to its end, however that was. `none`: there was nothing for it, and it was
   * answered with 204. Otherwise why its connection closed.
   */
  reason: 'ended' | 'none' | CloseReason;
  /** Events sent, those that tell the end included. */
  events: number;
  /** UTF-8 bytes of their frames. */
  bytes: number;
}

/** How a run stands. */
export interface RunStatus {
  readonly id: string;
  /** Of this run and no other, also where its id is used again. */
  readonly key: string;
  /** `handed-over`: its instance has left, and no other goes on with it yet. */
  readonly state: 'live' | 'handed-over' | 'ended';
  readonly startedAt: Date;
  readonly owner?: string;
  /** By name, where it has one. */
  readonly format?: string;
  /** Of one that has ended. */
  readonly reason?: RunEndReason;
  /** Of one that has ended: events of the answer. */
  readonly events?: number;
  /** Of one that has ended: UTF-8 bytes of their data. */
  readonly bytes?: number;
}

/** For a client of HTTP that repeats nothing by itself: about when a log is back after a failover. */
const RETRY_AFTER_S = '5';

/** What runs need of the service that they stand in. */
export interface RunsHost {
  readonly calls: UnwatchedCalls;
  open(
    platform: Platform,
    options: SseAttachOptions,
    headers: Readonly<Record<string, string>> | undefined,
  ): SseConnection;
  /** Answers without a stream. */
  answer(platform: Platform, status: number): void;
  /** Answers a GET with a stream that ends at once and tells the client to come back. */
  askToReconnect(platform: Platform, options: SseAttachOptions): Promise<CloseReason>;
  answerUnwatched(res: object, error: unknown): void;
  reportAway(error: unknown): void;
}

/** The runs of one owner: see {@link SseRuns.of}. */
export interface SseOwnedRuns {
  /** As {@link SseRuns.start}, for the owner. */
  start<T>(
    id: string,
    source: RunSource<T>,
    options?: Omit<SseRunOptions<T>, 'owner'>,
  ): Promise<{ started: boolean }>;
  /** As {@link SseRuns.attach}, to a run of the owner. */
  attach(res: object, id: string, options?: Omit<SseAttachOptions, 'owner'>): Promise<RunAttachmentEnd>;
  /** As {@link SseRuns.stop}, of a run of the owner. */
  stop(id: string): Promise<boolean>;
  /** As {@link SseRuns.status}, of a run of the owner. */
  status(id: string): Promise<RunStatus | undefined>;
}

/**
 * Runs: streams with a name that are recorded as they are made, such as the answer of a model. Clients attach
 * to them, leave, and come back on whichever instance, and get all of it; it is made once, and ends when
 * nobody wants it any more.
 *
 * A rejection that nothing awaits is logged, each kind once in ten seconds, and harms nobody; that of `attach` is
 * answered.
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
   * The runs of one owner, mostly a user. Two owners' runs with one id are two runs, and a client cannot tell whether
   * another owner has one.
   *
   * @param owner 1 to 512 characters, from where the user was authenticated and never from the client
   * @throws SseError `options-invalid`: also for undefined, since a user that is missing would see everybody's
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
   * Starts a run, unless one with its id and owner is live, on whichever instance; one that has ended is replaced,
   * unless `ifEnded` keeps it. The source is called in a turn of its own, and nothing of it is waited for.
   *
   * @param id names the run for all who attach to it: 1 to 512 characters
   * @param source called once, with a signal that aborts when the run is to end
   * @returns whether it was started. It can be attached to in either case
   * @throws SseError `options-invalid`
   * @throws BadRequestException for an id that is none; ServiceUnavailableException where the app is closing, makes
   * `runs.maxRuns` already, or its log is away: the cause is an SseError, `closed`, `run-refused`, `log-unavailable` or
   * `publish-failed`; ForbiddenException where an instance of version 0.1 has a run of an owner under an id without one
   */
  start<T>(id: string, source: RunSource<T>, options: SseRunOptions<T> = {}): Promise<{ started: boolean }> {
    return this.#host.calls.watch('runs.start()', () =>
      translated(async () => {
        checkSource(source);
        checkRunId(id);
        const { onEnd, ...settings } = runSettings(options);
        const started = await this.#runs.start(id, source as RunSource, {
          ...settings,
          onEnd: onEnd && ((end) => onEnd(this.#watchedItems(end))),
        });
        return { started };
      }),
    );
  }

  /**
   * Gives a client the run: all of it, or what follows its `Last-Event-ID`, then the rest as it is made, to its
   * end. The headers wait for the first event, 3 s at most, unless it brings a `Last-Event-ID`: of a run that fails
   * before it has made anything the answer is the failure's status. Where there is nothing to give, the answer is 204.
   *
   * While the log is away, a GET is answered with 200, a `retry` and a cut, so that an EventSource comes back; the
   * reason is `error` then.
   *
   * Return or await the promise: where a handler does neither, a failure is answered all the same.
   *
   * @param res the response of Express, Fastify or Node, as `@Res()` gives it
   * @throws GoneException where the `Last-Event-ID` is of a run that was replaced, or no id of a run; HttpException
   * with the status of a run that failed before it made anything; BadRequestException for an id that is none;
   * ServiceUnavailableException where a request other than GET is shed, or meets a log that is away; SseError
   * `options-invalid`, `response-invalid`, `misuse` where the response follows topics, or another run
   */
  attach(res: object, id: string, options: SseAttachOptions = {}): Promise<RunAttachmentEnd> {
    return WatchedPromise.run(
      () => translated(() => this.#attach(res, id, options)),
      (error) => this.#host.answerUnwatched(res, error),
    );
  }

  /**
   * Ends a run: its source's signal aborts, on whichever instance it is, and its clients are told. Resolves when it
   * is over, so that the next can be started; of another instance that does not say so, after a second.
   *
   * @returns whether it was live
   * @throws NotFoundException where the owner has none; BadRequestException and ServiceUnavailableException as
   * {@link start}
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
   * How a run stands; undefined where the owner has none, or none any more.
   *
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
   * Calls when a run has ended, of all runs whose end this instance is the one to notice: its own, and those
   * whose process is gone. At least once for each run: until it resolves, and again where it throws or the
   * process dies with it. Save under `key`. Register it on every instance, before the app listens: a run that was
   * started before is looked after only where clients of it are.
   *
   * @returns what ends that
   */
  onEnd(listener: (end: RunEnd) => unknown): () => void {
    return this.#runs.onEnd((end) => listener(this.#watchedItems(end)));
  }

  /**
   * Calls when a run was left by an instance that closes, where it was started with `onShutdown: 'hand-over'`:
   * start it again under its id and owner, and it goes on in the same answer. Several instances may be told of the same.
   * Where nobody starts it within about twice `leaseMs`, it ends as `shutdown`.
   *
   * @returns what ends that
   */
  onHandOver(listener: (run: RunHandOver) => unknown): () => void {
    return this.#runs.onHandOver((run) => listener(this.#watchedItems(run)));
  }

  /** The same, whose items may be asked for and left alone. */
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
    const isNone = (begin: RunBegin) => (ended ?? defaultOfEnded(platform, begin)) === 'none';
    let found: RunPlace | undefined;
    try {
      found = await this.#runs.find(id, {
        owner,
        lastEventId: lastEventIdOf(platform),
        mustKnowEnd: isNone,
      });
    } catch (error) {
      if (!isAway(error) || platform.raw.headersSent) {
        throw error;
      }
      if (!isRepeatable(platform)) {
        platform.setHeader('Retry-After', RETRY_AFTER_S);
        throw error;
      }
      this.#host.reportAway(error);
      return { reason: await this.#host.askToReconnect(platform, options), events: 0, bytes: 0 };
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
      throw new HttpException(message, status);
    }
    const { events, bytes, hasEnded } = follower;
    const reason = await connection.closed;
    const wasDelivered = await connection.over;
    return { reason: hasEnded ? (wasDelivered ? 'ended' : 'client') : reason, events, bytes };
  }
}

/** An answer that a browser kept would come again in the place of the run: it may be there by then, or gone. */
function forbidCaching(platform: Platform): void {
  if (!platform.raw.headersSent && !platform.raw.writableEnded) {
    platform.setHeader('Cache-Control', 'no-store');
  }
}

/** Whether an EventSource, or another client that comes back by itself, may have sent it. */
function isRepeatable({ method }: Platform): boolean {
  return method === 'GET' || method === 'HEAD';
}

/** Whether something failed for now, and not by what the client asked for. */
function isAway(error: unknown): boolean {
  return error instanceof SseError && (error.code === 'log-unavailable' || error.code === 'closed');
}

/** @throws SseError `misuse` */
function checkSource(source: unknown): void {
  if (typeof source !== 'function') {
    throw new SseError(
      'misuse',
      'runs.start(id, source) takes a function that makes the source, so that it can be given the signal: ' +
        `({ signal }) => source. Got ${show(source)}.`,
    );
  }
}

/** @throws SseError `options-invalid` */
function checkNames(id: string, { owner }: { owner?: string | undefined }): void {
  checkRunId(id);
  if (owner !== undefined) {
    checkRunOwner(owner);
  }
}

/** A client of the AI SDK that comes back after the end has the answer already, from where it was saved. */
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

/** What a client did wrong, or came too late for, as Nest's filters answer it. */
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
  if (error.code === 'options-invalid' && error.field === 'id') {
    return new BadRequestException(error.message, options);
  }
  if (error.code === 'run-refused') {
    return new ServiceUnavailableException('Too many answers are being made. Try again later.', options);
  }
  if (error.code === 'closed') {
    return new ServiceUnavailableException('The server is closing. Try again.', options);
  }
  // What it says of the engine is no client's business.
  return error.code === 'log-unavailable' || error.code === 'publish-failed'
    ? new ServiceUnavailableException('The answer cannot be had at the moment. Try again.', options)
    : error;
}
