import type { Reporter } from '../../errors/index.js';
import type { EventLogStore, Lease } from '../../log/index.js';
import type { PublicError } from '../../stream/index.js';
import { pause } from '../../time/index.js';
import type { DeadlineWheel } from '../../time/index.js';
import type { RunCounts } from '../counts.js';
import type { RunEnd, RunHandOver } from '../options.js';
import { controlRecord, readItems, readState, releaseLease, takeLease } from '../record/index.js';
import type { KnownRun, RunEnding, RunState } from '../record/index.js';
import { runHandOver, RunSettlement } from './settlement.js';
import { RunWatch } from './watch.js';
import type { WatchHost } from './watch.js';

/** The runs of an instance, as their caretaker sees them. */
export interface CaretakerHost {
  readonly wheel: DeadlineWheel;
  readonly reporter: Reporter;
  readonly publicError: (error: unknown) => PublicError;
  readonly leaseMs: number;
  readonly counts: Pick<RunCounts, 'ended'>;
  /** Aborts when the app closes. */
  readonly closed: AbortSignal;
  /** Whether the instance starts no more runs, since the app is about to close. */
  isDraining(): boolean;
  /** Whether the producer of a run is on this instance. */
  isProducedHere(name: string): boolean;
  /** Runs a task that no caller awaits. The log stays open until the task is over. */
  inBackground(task: Promise<unknown>): void;
}

/** The facts that only the instance that produced a run knows of its end. */
export interface OwnEnd {
  readonly error?: unknown;
  readonly onEnd?: ((end: RunEnd) => unknown) | undefined;
}

const FIRST_RETRY_MS = 50;
const LONGEST_RETRY_MS = 30_000;
const LAST_TRIES = 40;

/**
 * The caretaker of runs whose producer is gone. It records their end, and tells the app of the end of every run. It
 * offers the app the runs that were handed over, so that the app may start them again.
 */
export class RunCaretaker implements WatchHost {
  readonly wheel: DeadlineWheel;
  readonly reporter: Reporter;
  readonly leaseMs: number;
  readonly #store: EventLogStore;
  readonly #host: CaretakerHost;
  readonly #settlement: RunSettlement;
  readonly #watch: RunWatch;
  readonly #handOverListeners = new Set<(run: RunHandOver) => unknown>();

  constructor(store: EventLogStore, host: CaretakerHost) {
    const { wheel, reporter, leaseMs, closed } = host;
    this.wheel = wheel;
    this.reporter = reporter;
    this.leaseMs = leaseMs;
    this.#store = store;
    this.#host = host;
    this.#watch = new RunWatch(store, this);
    const onSettled = ({ name, epoch }: KnownRun) => this.#watch.note('settled', name, epoch);
    const onLost = ({ name, epoch }: KnownRun) => this.#watch.note('begun', name, epoch);
    this.#settlement = new RunSettlement(store, { reporter, leaseMs, closed, onSettled, onLost });
  }

  /** Whether the app listens for the end of runs. */
  get hasListeners(): boolean {
    return this.#settlement.hasListeners;
  }

  /** @returns a function that removes the listener */
  onEnd(listener: (end: RunEnd) => unknown): () => void {
    this.#watch.start();
    return this.#settlement.onEnd(listener);
  }

  /** @returns a function that removes the listener */
  onHandOver(listener: (run: RunHandOver) => unknown): () => void {
    this.#handOverListeners.add(listener);
    return () => this.#handOverListeners.delete(listener);
  }

  isProducedHere(name: string): boolean {
    return this.#host.isProducedHere(name);
  }

  /** Whether a run is in the log whose end the app was not told of. */
  async isOpen(name: string): Promise<boolean> {
    return (await readState(this.#store, name))?.isSettled === false;
  }

  /** Notes that a run has begun, so that an instance notices if its process dies. */
  async noteBegun(name: string, key: string): Promise<void> {
    if (this.hasListeners) {
      await this.#watch.note('begun', name, key);
    }
  }

  /** Tells the app of the end of a run that was produced here. It never rejects. */
  async settleProduced(run: KnownRun, ending: RunEnding, own: OwnEnd): Promise<void> {
    await this.#settlement.settle(run, ending, { isSettled: ending.isSettled, ...own });
  }

  /** Tells the app of the end of a run whose log stays. It never rejects. */
  async settleKept(state: RunState, ending: RunEnding): Promise<void> {
    await this.#settlement.settle(state, ending, { isSettled: state.isSettled });
  }

  /** Tells the app of the end of a run whose log is about to be replaced. */
  async settleBefore(state: RunState, ending: RunEnding): Promise<void> {
    await this.#settlement.settleBefore(state, ending);
  }

  /**
   * Ends a run whose producer is gone: a run that has not ended and whose lease is free has no producer.
   *
   * @param own - what this instance knows of the end, if it has produced the run
   * @returns whether nothing is left to be done for the run
   */
  async finishIfDead(name: string, own: OwnEnd = {}): Promise<boolean> {
    if (this.#host.closed.aborted) {
      return false;
    }
    const lease = await takeLease(this.#store, name, this.leaseMs);
    if (!lease) {
      return false;
    }
    try {
      const state = await readState(this.#store, name);
      if (!state) {
        return true;
      }
      if (!state.ending && isFresh(state, this.leaseMs)) {
        this.offer(state);
        return false;
      }
      const ending = state.ending ?? (await this.recordLoss(state, lease));
      return await this.#settlement.settle(state, ending, { isSettled: state.isSettled, ...own });
    } finally {
      await releaseLease(lease, this.reporter);
    }
  }

  /** Ends a run whose producer could not record the end, as soon as the log can be reached. */
  async finishLater(name: string, own: OwnEnd): Promise<void> {
    const { closed } = this.#host;
    let waitMs = FIRST_RETRY_MS;
    for (let tries = 0; tries < LAST_TRIES && !closed.aborted; tries += 1) {
      try {
        await this.finishIfDead(name, own);
        return;
      } catch (error) {
        this.reporter.debug(`A run that is over could not be ended in the log yet: ${String(error)}`);
      }
      waitMs = Math.min(LONGEST_RETRY_MS, waitMs * 2);
      await pause(waitMs, closed);
    }
  }

  /**
   * Records the end of a run whose producer is gone.
   *
   * @param lease - the lease of the run, so that no other instance records an end
   * @throws SseError `log-unavailable`, `publish-failed`, `lease-lost`, `closed`
   */
  async recordLoss(state: RunState, lease: Lease): Promise<RunEnding> {
    const { events, bytes } = await readItems(state);
    const { lost, isCut } = state.begin;
    const ending: RunEnding = {
      reason: state.handedOverAt === undefined ? 'error' : 'shutdown',
      events,
      bytes,
      failure: this.#host.publicError(undefined),
      isCut,
      isSettled: false,
    };
    const last = lost.map((event) => ({ topic: 'last', ...event }));
    await state.log.append([...last, controlRecord('end', ending)], { lease });
    this.#host.counts.ended[ending.reason] += 1;
    return ending;
  }

  /** Offers a run that was handed over to the app, which may start it again unless it is closing. */
  offer(run: KnownRun): void {
    if (this.#host.isDraining()) {
      return;
    }
    for (const listener of this.#handOverListeners) {
      const notified = (async () => listener(runHandOver(run)))();
      this.#host.inBackground(notified);
    }
  }

  close(): void {
    this.#watch.close();
  }
}

/** Whether another instance may be about to take the run over. */
function isFresh({ handedOverAt }: RunState, leaseMs: number): boolean {
  return handedOverAt !== undefined && Date.now() - handedOverAt < 2 * leaseMs;
}
