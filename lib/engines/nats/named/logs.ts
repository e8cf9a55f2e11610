import { RepeatLimit, SseError } from '../../../errors/index.js';
import { newEpoch } from '../../index.js';
import { NO_NONCE } from '../../../wire/index.js';
import type { Lease, LogPage, NamedLog } from '../../../log/index.js';
import { API_ERRORS, apiErrorOf, closed, leaseLost, unavailable } from '../failure.js';
import type { Leases } from '../lease.js';
import { NamedEventLog, putState, readState } from './named.event-log.js';
import type { NamedContext } from './named.event-log.js';
import { stateOf } from './state.js';
import type { NamedState, StoredState } from './state.js';
import type { NatsContext } from '../nats.event-log.js';
import { Notices } from '../notices.js';
import { Refusal } from '../appends.js';
import type { ServerClock } from '../server-clock.js';
import type { NatsStream } from '../stream.js';
import { subjectTokenOf } from '../subject.js';

const SWEEP_MS = 60_000;
// The process that has the log open ends it first, and resets its listeners.
const ABANDONED_MS = 1_000;
const SWEPT_AT_ONCE = 10_000;
// A swept lease loses its token.
const STALE_LEASE_MS = 3_600_000;
const RETRY_MS = 250;
// A single message on a subject may be the first one of a log that is being made.
const FOREIGN_MS = 3_600_000;

interface Limits {
  readonly maxEvents: number;
  readonly ttlMs: number;
}

/** The named logs and leases of a store, on two streams that all instances share. */
export class NamedLogs {
  readonly #context: NamedContext;
  readonly #streams: readonly NatsStream[];
  readonly #base: string;
  readonly #clock: ServerClock;
  readonly #leases: Leases;
  readonly #logs = new Map<string, NamedEventLog>();
  /** The pending opening of each name: two at once would make two objects for one log. */
  readonly #turns = new Map<string, Promise<unknown>>();
  readonly #limit = new RepeatLimit();
  #isReady: Promise<void> | undefined;
  #sweeper: NodeJS.Timeout | undefined;

  constructor(
    context: NatsContext,
    streams: { logs: NatsStream; leases: NatsStream; notices: NatsStream },
    { base, clock, leases }: { base: string; clock: ServerClock; leases: Leases },
  ) {
    this.#context = {
      ...context,
      stream: streams.logs,
      notices: new Notices(context, streams.notices, `${base}.notices`),
      onQuiet: (log) => void this.#check(log),
      onEnded: (log) => this.#forget(log),
      purge: (subject, before) => void this.#purge(subject, before),
    };
    this.#streams = [streams.logs, streams.leases, streams.notices];
    this.#base = base;
    this.#clock = clock;
    this.#leases = leases;
  }

  open(name: string, { lease, maxEvents, ttlMs }: Limits & { lease?: Lease }): Promise<NamedLog> {
    const limits = { maxEvents, ttlMs };
    return this.#inTurn(name, async () => {
      const log = lease ? await this.#replace(name, limits, lease) : await this.#openOrBegin(name, limits);
      // A lease may be older than the log that it fences.
      const token = await this.#leases.fenceOf(name);
      if (log.state.fence < token) {
        await this.#fence(name, token);
      }
      return log;
    });
  }

  find(
    name: string,
    { from, limit }: { from: number; limit: number },
  ): Promise<{ log: NamedLog; page: LogPage } | undefined> {
    return this.#do(async () => {
      for (;;) {
        const log = await this.#find(name);
        try {
          return log && { log, page: await log.pageOfKnown(from, limit) };
        } catch (error) {
          this.#refuseIfClosed();
          if (!(error instanceof SseError && error.code === 'closed')) {
            throw error;
          }
          // Another log has replaced it meanwhile.
        }
      }
    });
  }

  async lease(name: string, { ttlMs }: { ttlMs: number }): Promise<Lease | undefined> {
    return this.#inTurn(name, async () => {
      const highest = async () => ((await this.#read(name)).state?.fence ?? 1) - 1;
      const lease = await this.#leases.take(name, ttlMs, highest);
      try {
        await (lease && this.#fence(name, lease.token));
      } catch (error) {
        // No caller has the lease. If it cannot be released, it expires; the caller gets the first failure.
        await lease?.release().catch(() => undefined);
        throw error;
      }
      return lease;
    });
  }

  claim(name: string, { ttlMs }: { ttlMs: number }): Promise<boolean> {
    return this.#do(() => this.#leases.claim(name, ttlMs));
  }

  /** Releases the leases of this process, so that others need not wait until they expire. */
  async release(): Promise<void> {
    await this.#leases.releaseAll();
  }

  async close(): Promise<void> {
    clearInterval(this.#sweeper);
    const closing = Array.from(this.#logs.values(), (log) => log.close());
    this.#logs.clear();
    await Promise.all(closing);
  }

  /** Fences the log of a name, if it exists: from now on it refuses lower tokens, on each instance. */
  async #fence(name: string, token: number): Promise<void> {
    const since = performance.now();
    const subject = this.#subjectOf(name);
    for (;;) {
      const { state } = await this.#read(name);
      if (!state || state.hasExpired || state.fence >= token) {
        return;
      }
      if (await this.#isAlive(state)) {
        const fenced = await this.#put(subject, { ...state, fence: token }, state.streamSequence, since);
        if (fenced) {
          this.#logs.get(name)?.learn(fenced);
          return;
        }
      } else {
        // A further message would prolong its life.
        const epoch = await this.#expire(subject, state);
        if (epoch !== undefined) {
          this.#logs.get(name)?.expire(epoch);
        }
      }
    }
  }

  async #openOrBegin(name: string, limits: Limits): Promise<NamedEventLog> {
    let before: StoredState | undefined;
    for (;;) {
      const { state: found, last } = await this.#read(name);
      const isAlive = await this.#isAlive(found);
      if (found && isAlive && before?.epoch === found.epoch && hasLimits(found, limits)) {
        // Another append has prolonged its life meanwhile. With a busy producer this write would never succeed.
        return this.#logOf(name, found);
      }
      before = found;
      const next: NamedState = found && isAlive ? { ...found, ...limits } : begun(found, limits, last);
      const state = await this.#put(this.#subjectOf(name), next, last);
      if (state) {
        if (!isAlive) {
          this.#purgeBefore(name, state);
        }
        return this.#logOf(name, state);
      }
      this.#refuseIfClosed();
    }
  }

  async #replace(name: string, limits: Limits, lease: Lease): Promise<NamedEventLog> {
    const epoch = newEpoch();
    for (;;) {
      const [{ state: found, last }, fence] = await Promise.all([
        this.#read(name),
        this.#leases.fenceOf(name),
      ]);
      if (found?.epoch === epoch) {
        // An earlier attempt of this loop was stored, and the answer was lost.
        return this.#logOf(name, found);
      }
      if (lease.signal.aborted || lease.token < Math.max(fence, found?.fence ?? 0)) {
        throw leaseLost('the log is as it was');
      }
      const next = { ...begun(found, limits, last), epoch, fence: lease.token };
      const state = await this.#put(this.#subjectOf(name), next, last);
      if (state) {
        this.#purgeBefore(name, state);
        return this.#logOf(name, state);
      }
      this.#refuseIfClosed();
    }
  }

  async #find(name: string): Promise<NamedEventLog | undefined> {
    const before = this.#logs.get(name)?.state.streamSequence ?? 0;
    const state = await this.#readAlive(name);
    if (!state) {
      return undefined;
    }
    if (state.streamSequence < before) {
      await this.#logs.get(name)?.endIfGone();
    }
    const known = this.#logs.get(name);
    if (known?.state.epoch === state.epoch) {
      known.learn(state);
      return known;
    }
    return this.#inTurn(name, async () => {
      const found = await this.#readAlive(name);
      if (!found) {
        return undefined;
      }
      const leftMs = await this.#leftOf(found);
      const log = this.#logOf(name, found);
      log.checkAgainIn(leftMs);
      return log;
    });
  }

  /** Deletes the messages before a log. No reader needs them, so it is not awaited. */
  #purgeBefore(name: string, { streamSequence }: StoredState): void {
    // The server takes a purge up to 1 as no sequence, and would delete the log itself.
    if (streamSequence > 1) {
      void this.#purge(this.#subjectOf(name), streamSequence);
    }
  }

  /** Deletes messages that no reader needs. It never rejects: a later trim or the log's end deletes them, too. */
  async #purge(subject: string, before: number): Promise<void> {
    try {
      await this.#context.stream.purge({ filter: subject, seq: before });
    } catch (error) {
      this.#warnOfUndeleted(error);
    }
  }

  /** Warns of messages that take space in vain, at most every ten seconds. */
  #warnOfUndeleted(error: unknown): void {
    const { engine, link, stream, closed: closing } = this.#context;
    // A lost connection is reported by the health, and a stream that is gone has no messages.
    if (closing.aborted || !link.isConnected || apiErrorOf(error) === API_ERRORS.streamNotFound) {
      return;
    }
    const message = this.#limit.limit(
      'undeleted',
      () =>
        `NATS: old messages of runs in "${stream.name}" could not be deleted: ${unavailable(error).message}`,
    );
    if (message !== undefined) {
      engine.warn(message);
    }
  }

  #logOf(name: string, state: StoredState): NamedEventLog {
    this.#refuseIfClosed();
    this.#logs.get(name)?.learn(state);
    const log = this.#logs.get(name) ?? new NamedEventLog(this.#context, name, this.#subjectOf(name), state);
    this.#logs.set(name, log);
    return log;
  }

  /** Checks whether another instance has used a log that was quiet here. If none has, the log ends for all. */
  async #check(log: NamedEventLog): Promise<void> {
    try {
      const { state } = await this.#read(log.name);
      if (!state || state.hasExpired || state.epoch !== log.state.epoch) {
        log.expire(state?.epoch);
        return;
      }
      log.learn(state);
      const leftMs = await this.#leftOf(state);
      const epoch = leftMs > 0 ? undefined : await this.#expire(this.#subjectOf(log.name), state);
      if (epoch === undefined) {
        log.checkAgainIn(Math.max(0, leftMs));
      } else {
        log.expire(epoch);
      }
    } catch {
      // Without an answer it is unknown whether it has ended.
      log.checkAgainIn(RETRY_MS);
    }
  }

  /** Ends a log. @returns the epoch of the next log; undefined if this log was used meanwhile */
  async #expire(subject: string, state: StoredState): Promise<string | undefined> {
    const epoch = newEpoch();
    const ended = await this.#put(
      subject,
      begun({ ...state, epoch }, state, state.streamSequence, true),
      state.streamSequence,
    );
    if (ended) {
      await this.#context.stream.purge({ filter: subject, seq: ended.streamSequence + 1 });
    }
    return ended && epoch;
  }

  /** Ends logs that no process has open any more. */
  async #sweep(): Promise<void> {
    try {
      const now = await this.#clock.now();
      const messages = await this.#context.stream.read({
        from: 1,
        to: Infinity,
        limit: SWEPT_AT_ONCE,
        maxBytes: Number.MAX_SAFE_INTEGER,
        filter: `${this.#base}.logs.*`,
        newestOnly: true,
        headersOnly: true,
      });
      for (const message of messages) {
        const state = stateOf(message);
        if (state && (state.hasExpired || state.time + state.ttlMs + ABANDONED_MS < now)) {
          await this.#expire(message.subject, state);
        } else if (!state && message.time + FOREIGN_MS < now) {
          await this.#sweepForeign(message.subject);
        }
      }
      await this.#leases.sweep(STALE_LEASE_MS);
    } catch (error) {
      // The rest is swept next time, here or by another process.
      this.#warnOfUndeleted(error);
    }
  }

  /** Deletes messages of other programs on a subject without a log. */
  async #sweepForeign(subject: string): Promise<void> {
    const { state, last } = await readState(this.#context, subject);
    if (!state) {
      await this.#context.stream.purge({ filter: subject, seq: last + 1 });
    }
  }

  #put(
    subject: string,
    state: NamedState,
    expected: number,
    since = performance.now(),
  ): Promise<StoredState | undefined> {
    return putState(this.#context, subject, { state, body: new Uint8Array(), expected, since });
  }

  /** Reads the state of a log; undefined if there is none, or it has expired. */
  async #readAlive(name: string): Promise<StoredState | undefined> {
    const { state } = await this.#read(name);
    return (await this.#isAlive(state)) ? state : undefined;
  }

  async #isAlive(state: StoredState | undefined): Promise<boolean> {
    return state !== undefined && !state.hasExpired && (await this.#leftOf(state)) >= 0;
  }

  /** Returns the remaining lifetime of a log, in milliseconds. */
  async #leftOf({ time, ttlMs }: StoredState): Promise<number> {
    return time + ttlMs - (await this.#clock.now());
  }

  #read(name: string): Promise<{ state: StoredState | undefined; last: number }> {
    return readState(this.#context, this.#subjectOf(name));
  }

  #subjectOf(name: string): string {
    return `${this.#base}.logs.${subjectTokenOf(name)}`;
  }

  async #inTurn<T>(name: string, work: () => Promise<T>): Promise<T> {
    const before = this.#turns.get(name);
    const result = (async () => {
      // The caller before gets its failure. This one only waits for the end.
      await before?.catch(() => undefined);
      return this.#do(work);
    })();
    this.#turns.set(name, result);
    try {
      return await result;
    } finally {
      if (this.#turns.get(name) === result) {
        this.#turns.delete(name);
      }
    }
  }

  async #do<T>(work: () => Promise<T>): Promise<T> {
    const { link } = this.#context;
    this.#refuseIfClosed();
    try {
      await link.whenStarted('requestTimeoutMs');
      this.#isReady ??= this.prepare().catch((error: unknown) => {
        this.#isReady = undefined;
        throw error;
      });
      await this.#isReady;
      return await work();
    } catch (error) {
      this.#refuseIfClosed();
      if (error instanceof Refusal || (error instanceof SseError && error.code === 'publish-failed')) {
        throw new SseError('log-unavailable', error.message, { cause: error });
      }
      throw unavailable(error);
    }
  }

  /** Creates the streams, also after they were deleted. */
  async prepare(): Promise<void> {
    await Promise.all(this.#streams.map((stream) => stream.ensure()));
    if (!this.#sweeper && !this.#context.closed.aborted) {
      // At random, so that not all instances act at once.
      this.#sweeper = setInterval(() => void this.#sweep(), SWEEP_MS * (0.75 + Math.random() / 2));
      this.#sweeper.unref();
      void this.#sweep();
    }
  }

  #forget(log: NamedEventLog): void {
    if (this.#logs.get(log.name) === log) {
      this.#logs.delete(log.name);
    }
  }

  #refuseIfClosed(): void {
    if (this.#context.closed.aborted) {
      throw closed(true);
    }
  }
}

/** The state of an empty log. The fence of its name stays. */
function begun(
  before: StoredState | undefined,
  { maxEvents, ttlMs }: Limits,
  startsAfter: number,
  hasExpired = false,
): NamedState {
  return {
    epoch: hasExpired || before?.hasExpired ? before!.epoch : newEpoch(),
    sequence: 0,
    nonce: NO_NONCE,
    fence: before?.fence ?? 0,
    ttlMs,
    maxEvents,
    hasExpired,
    startsAfter,
  };
}

function hasLimits(state: NamedState, { maxEvents, ttlMs }: Limits): boolean {
  return state.maxEvents === maxEvents && state.ttlMs === ttlMs;
}
