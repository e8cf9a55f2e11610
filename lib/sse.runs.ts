import {
  BadRequestException,
  ForbiddenException,
  GoneException,
  HttpException,
  NotFoundException,
  ServiceUnavailableException,
} from '@nestjs/common';
import { toPlatform } from './connection/index.js';
import type { CloseReason, Platform, SseConnection } from './connection/index.js';
import { checkRunId, runSettings } from './runs/index.js';
import type {
  RunBegin,
  RunEnd,
  RunEndReason,
  RunHandOver,
  Runs,
  RunSource,
  RunState,
  SseRunOptions,
} from './runs/index.js';
import { SseError } from './sse.errors.js';
import type { SseAttachOptions } from './sse.options.js';
import { WatchedPromise } from './watched-promise.js';
import { readLastEventId, show } from './wire/index.js';

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

/** What runs need of the service that they stand in. */
export interface RunsHost {
  open(
    platform: Platform,
    options: SseAttachOptions,
    headers: Readonly<Record<string, string>> | undefined,
  ): SseConnection;
  /** Answers without a stream. */
  answer(platform: Platform, status: number): void;
  answerUnwatched(res: object, error: unknown): void;
}

/**
 * Runs: streams with a name that are recorded as they are made, such as the answer of a model. Clients attach
 * to them, leave, and come back on whichever instance, and get all of it; it is made once, and ends when
 * nobody wants it any more.
 *
 * @example
 * ```ts
 * @Controller('api/chat')
 * class ChatController {
 *   constructor(private readonly sse: SseService) {}
 *
 *   @Post()
 *   async ask(@Body() chat: ChatDto, @Res() res: Response) {
 *     await this.sse.runs.start(chat.id, ({ signal }) => this.model.answer(chat, { signal }), { format: 'ai-sdk' });
 *     return this.sse.runs.attach(res, chat.id);
 *   }
 *
 *   @Get(':id/stream')
 *   resume(@Param('id') id: string, @Res() res: Response) {
 *     return this.sse.runs.attach(res, id);
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
   * Starts a run, unless one with the id is live, on whichever instance; one that has ended is replaced. The
   * source is called in a turn of its own, and nothing of it is waited for.
   *
   * @param id names the run for all who attach to it: 1 to 512 characters
   * @param source called once, with a signal that aborts when the run is to end
   * @returns whether it was started. It can be attached to in either case
   * @throws SseError `options-invalid`
   * @throws ForbiddenException where another owner's stands under the id, live or over; BadRequestException for an
   * id that is none; ServiceUnavailableException where the app is closing, makes `runs.maxRuns` already, or its log
   * is away: the cause is an SseError, `closed`, `run-refused`, `log-unavailable` or `publish-failed`
   */
  async start<T>(
    id: string,
    source: RunSource<T>,
    options: SseRunOptions<T> = {},
  ): Promise<{ started: boolean }> {
    if (typeof source !== 'function') {
      throw new SseError(
        'misuse',
        'runs.start(id, source) takes a function that makes the source, so that it can be given the signal: ' +
          `({ signal }) => source. Got ${source === null ? 'null' : typeof source}.`,
      );
    }
    return translated(async () => {
      checkRunId(id);
      const settings = runSettings(options);
      return { started: await this.#runs.start(id, source as RunSource, settings) };
    });
  }

  /**
   * Gives a client the run: all of it, or what follows its `Last-Event-ID`, then the rest as it is made, to its
   * end. The headers wait for the first event, 3 s at most, unless it brings a `Last-Event-ID`: of a run that fails
   * before it has made anything the answer is the failure's status. Where there is nothing to give, the answer is 204.
   *
   * Return or await the promise: where a handler does neither, a failure is answered all the same.
   *
   * @param res the response of Express, Fastify or Node, as `@Res()` gives it
   * @throws ForbiddenException where the run is another owner's; GoneException where the `Last-Event-ID` is of a
   * run that was replaced; HttpException with the status of a run that failed before it made anything;
   * BadRequestException for an id that is none; ServiceUnavailableException where a request other than GET is shed,
   * or the log is away; SseError `options-invalid`, `response-invalid`
   */
  attach(res: object, id: string, options: SseAttachOptions = {}): Promise<RunAttachmentEnd> {
    const attaching = WatchedPromise.run(() => translated(() => this.#attach(res, id, options)));
    attaching.onUnwatchedRejection((error) => this.#host.answerUnwatched(res, error));
    return attaching;
  }

  /**
   * Ends a run: its source's signal aborts, on whichever instance it is, and its clients are told. Resolves when it
   * is over, so that the next can be started; of another instance that does not say so, after a second.
   *
   * @returns whether it was live
   * @throws NotFoundException where there is none; ForbiddenException where it is another owner's; BadRequestException
   * and ServiceUnavailableException as {@link start}
   */
  async stop(id: string, options: { owner?: string } = {}): Promise<boolean> {
    const wasLive = await translated(async () => {
      checkRunId(id);
      return this.#runs.stop(id, options.owner);
    });
    if (wasLive === undefined) {
      throw new NotFoundException(`There is no run ${show(id)}.`);
    }
    return wasLive;
  }

  /**
   * How a run stands; undefined where there is none, or none any more.
   *
   * @throws ForbiddenException where it is another owner's; BadRequestException and ServiceUnavailableException as
   * {@link start}
   */
  async status(id: string, options: { owner?: string } = {}): Promise<RunStatus | undefined> {
    const state = await translated(async () => {
      checkRunId(id);
      return this.#runs.state(id, options.owner);
    });
    return state && statusOf(state);
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
    return this.#runs.onEnd(listener);
  }

  /**
   * Calls when a run was left by an instance that closes, where it was started with `onShutdown: 'hand-over'`:
   * start it again under its id, and it goes on in the same answer. Several instances may be told of the same.
   * Where nobody starts it within about twice `leaseMs`, it ends as `shutdown`.
   *
   * @returns what ends that
   */
  onHandOver(listener: (run: RunHandOver) => unknown): () => void {
    return this.#runs.onHandOver(listener);
  }

  async #attach(
    res: object,
    id: string,
    { owner, ended, ...options }: SseAttachOptions,
  ): Promise<RunAttachmentEnd> {
    checkRunId(id);
    const platform = toPlatform(res);
    const isNone = (begin: RunBegin) => (ended ?? defaultOfEnded(platform, begin)) === 'none';
    const found = await this.#runs.find(id, {
      owner,
      lastEventId: lastEventIdOf(platform),
      mustKnowEnd: isNone,
    });
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

/** A client of the AI SDK that comes back after the end has the answer already, from where it was saved. */
function defaultOfEnded(platform: Platform, { format }: RunBegin): 'replay' | 'none' {
  return format === 'ai-sdk' && platform.method === 'GET' ? 'none' : 'replay';
}

function lastEventIdOf({ rawRequest }: Platform): string | undefined {
  return readLastEventId(rawRequest.headers['last-event-id'], rawRequest.url);
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
