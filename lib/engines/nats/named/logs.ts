import { SseError } from '../../../errors/index.js';
import { newEpoch } from '../../index.js';
import { NO_NONCE } from '../../../wire/index.js';
import type { Lease, LogPage, NamedLog } from '../../../log/index.js';
import { closed, leaseLost, unavailable } from '../failure.js';
import { Leases } from '../lease.js';
import { NamedEventLog, putState, readState } from './named.event-log.js';
import type { NamedContext } from './named.event-log.js';
import { stateOf } from './state.js';
import type { NamedState, StoredState } from './state.js';
import type { NatsContext } from '../nats.event-log.js';
import { Notices } from '../notices.js';
import { Refusal } from '../appends.js';
import { ServerClock } from '../server-clock.js';
import type { NatsStream } from '../stream.js';
import { tokenOf } from '../subject.js';

const SWEEP_MS = 60_000;
// Whoever has a log open ends it first, and tells who follows.
const ABANDONED_MS = 1_000;
const SWEPT_AT_ONCE = 10_000;
// A lease that is swept is forgotten with its token.
const STALE_LEASE_MS = 3_600_000;
const RETRY_MS = 250;
// What stands alone on a subject may be about to be followed by a log of ours.
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
  /** What is under way for each name: two at once would make two objects of one log. */
  readonly #turns = new Map<string, Promise<unknown>>();
  #isReady: Promise<void> | undefined;
  #sweeper: NodeJS.Timeout | undefined;

  constructor(
    context: NatsContext,
    streams: { logs: NatsStream; leases: NatsStream; notices: NatsStream },
    base: string,
  ) {
    this.#context = {
      ...context,
      stream: streams.logs,
      notices: new Notices(context, streams.notices, `${base}.notices`),
      onQuiet: (log) => void this.#look(log),
      onOver: (log) => this.#forget(log),
    };
    this.#streams = [streams.logs, streams.leases, streams.notices];
    this.#base = base;
    this.#clock = new ServerClock(context, streams.leases, `${base}.clock`);
    this.#leases = new Leases(context, streams.leases, this.#clock, `${base}.leases`);
  }

  open(name: string, { lease, maxEvents, ttlMs }: Limits & { lease?: Lease }): Promise<NamedLog> {
    const limits = { maxEvents, ttlMs };
    return this.#inTurn(name, async () => {
      const log = lease ? await this.#replace(name, limits, lease) : await this.#openOrBegin(name, limits);
      // A lease may have been had before there was a log to fence.
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
          // Another has taken its place while it was read.
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
        // Nobody has been told of the lease: one that cannot be given back runs out. What failed is thrown.
        await lease?.release().catch(() => undefined);
        throw error;
      }
      return lease;
    });
  }

  /** Lets others have what was held here, without waiting until it runs out. */
  async release(): Promise<void> {
    await this.#leases.releaseAll();
  }

  async close(): Promise<void> {
    clearInterval(this.#sweeper);
    const closing = Array.from(this.#logs.values(), (log) => log.close());
    this.#logs.clear();
    await Promise.all(closing);
  }

  /** Has the log of a name, if there is one, refuse holders with lower tokens from now on, whoever they ask. */
  async #fence(name: string, token: number): Promise<void> {
    const since = performance.now();
    const subject = this.#subjectOf(name);
    for (;;) {
      const { state } = await this.#read(name);
      if (!state || state.isOver || state.fence >= token) {
        return;
      }
      if (await this.#isAlive(state)) {
        const fenced = await this.#put(subject, { ...state, fence: token }, state.streamSequence, since);
        if (fenced) {
          this.#logs.get(name)?.learn(fenced);
          return;
        }
      } else {
        // A message more would have it live on.
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
        // Somebody has appended meanwhile, which has it live as long. Beside a busy producer this never had its turn.
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
        // It is ours: the server has taken it without an answer that came.
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
    const state = await this.#readAlive(name);
    const known = this.#logs.get(name);
    if (!state) {
      return undefined;
    }
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
      log.lookAgainIn(leftMs);
      return log;
    });
  }

  /** Frees what was there before a log: nobody would read it, and so nobody waits for it. */
  #purgeBefore(name: string, { streamSequence: seq }: StoredState): void {
    // What cannot be freed now goes with the log. To the server 1 is no sequence at all, and the log itself would go.
    if (seq > 1) {
      this.#context.stream.purge({ filter: this.#subjectOf(name), seq }).catch(() => undefined);
    }
  }

  #logOf(name: string, state: StoredState): NamedEventLog {
    this.#refuseIfClosed();
    this.#logs.get(name)?.learn(state);
    const log = this.#logs.get(name) ?? new NamedEventLog(this.#context, name, this.#subjectOf(name), state);
    this.#logs.set(name, log);
    return log;
  }

  /** Looks whether a log that was quiet here was used elsewhere, and ends it for everyone where it was not. */
  async #look(log: NamedEventLog): Promise<void> {
    try {
      const { state } = await this.#read(log.name);
      if (!state || state.isOver || state.epoch !== log.state.epoch) {
        log.expire(state?.epoch);
        return;
      }
      log.learn(state);
      const leftMs = await this.#leftOf(state);
      const epoch = leftMs > 0 ? undefined : await this.#expire(this.#subjectOf(log.name), state);
      if (epoch === undefined) {
        log.lookAgainIn(Math.max(0, leftMs));
      } else {
        log.expire(epoch);
      }
    } catch {
      // Without an answer it is not known whether it is over.
      log.lookAgainIn(RETRY_MS);
    }
  }

  /** @returns the epoch of the log that comes next; undefined where this one was used meanwhile */
  async #expire(subject: string, state: StoredState): Promise<string | undefined> {
    const epoch = newEpoch();
    const over = await this.#put(
      subject,
      begun({ ...state, epoch }, state, state.streamSequence, true),
      state.streamSequence,
    );
    if (over) {
      await this.#context.stream.purge({ filter: subject, seq: over.streamSequence + 1 });
    }
    return over && epoch;
  }

  /** Ends what every process that had it has left behind. */
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
        if (state && (state.isOver || state.time + state.ttlMs + ABANDONED_MS < now)) {
          await this.#expire(message.subject, state);
        } else if (!state && message.time + FOREIGN_MS < now) {
          await this.#sweepForeign(message.subject);
        }
      }
      await this.#leases.sweep(STALE_LEASE_MS);
    } catch {
      // What is left is swept the next time, here or by another process.
    }
  }

  /** Frees what other programs have left on a subject that has no log. */
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

  /** The log of a name as it was last written to; undefined where there is none, or it has expired. */
  async #readAlive(name: string): Promise<StoredState | undefined> {
    const { state } = await this.#read(name);
    return (await this.#isAlive(state)) ? state : undefined;
  }

  async #isAlive(state: StoredState | undefined): Promise<boolean> {
    return state !== undefined && !state.isOver && (await this.#leftOf(state)) >= 0;
  }

  /** How long a log has yet to live, in milliseconds. */
  async #leftOf({ time, ttlMs }: StoredState): Promise<number> {
    return time + ttlMs - (await this.#clock.now());
  }

  #read(name: string): Promise<{ state: StoredState | undefined; last: number }> {
    return readState(this.#context, this.#subjectOf(name));
  }

  #subjectOf(name: string): string {
    return `${this.#base}.logs.${tokenOf(name)}`;
  }

  async #inTurn<T>(name: string, work: () => Promise<T>): Promise<T> {
    const before = this.#turns.get(name);
    const result = (async () => {
      // Its own caller hears of its failure.
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
      await link.whenStarted(link.requestTimeoutMs);
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

  /** Makes the streams, also where somebody has deleted them. */
  async prepare(): Promise<void> {
    await Promise.all(this.#streams.map((stream) => stream.ensure()));
    if (!this.#sweeper && !this.#context.closed.aborted) {
      // Not all instances at once.
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

/** A log with nothing in it. Whatever its name has had before, a fence stays. */
function begun(
  before: StoredState | undefined,
  { maxEvents, ttlMs }: Limits,
  startsAfter: number,
  isOver = false,
): NamedState {
  return {
    epoch: isOver || before?.isOver ? before!.epoch : newEpoch(),
    sequence: 0,
    nonce: NO_NONCE,
    fence: before?.fence ?? 0,
    ttlMs,
    maxEvents,
    isOver,
    startsAfter,
  };
}

function hasLimits(state: NamedState, { maxEvents, ttlMs }: Limits): boolean {
  return state.maxEvents === maxEvents && state.ttlMs === ttlMs;
}
