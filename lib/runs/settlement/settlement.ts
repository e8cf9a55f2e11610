import type { Reporter } from '../../errors/index.js';
import type { EventLogStore } from '../../log/index.js';
import { show, SseError } from '../../errors/index.js';
import { pause, within } from '../../time/index.js';
import type { RunEnd, RunHandOver } from '../options.js';
import { controlRecord, readItems, readState } from '../record/index.js';
import type { KnownRun, RunEnding, RunState } from '../record/index.js';

const POLL_MS = 50;
// The pauses before a listener that failed is called again. After the last, another instance may settle the run.
const RETRY_MS = [1_000, 5_000, 30_000];

/**
 * Tells the app of the end of runs, so that it can save the answers. Each listener is called at least once: `settled`
 * is recorded only after all calls have succeeded.
 */
export class RunSettlement {
  readonly #store: EventLogStore;
  readonly #reporter: Reporter;
  readonly #leaseMs: number;
  readonly #closed: AbortSignal;
  readonly #onSettled: (run: KnownRun) => Promise<void>;
  readonly #onLost: (run: KnownRun) => Promise<void>;
  readonly #listeners = new Set<(end: RunEnd) => unknown>();
  /** The settlements under way on this instance, by the key of the run. */
  readonly #settling = new Map<string, { readonly end: RunEnd; readonly notified: Promise<boolean> }>();

  constructor(
    store: EventLogStore,
    options: {
      reporter: Reporter;
      leaseMs: number;
      closed: AbortSignal;
      /** Called when all listeners were told of the end of a run. */
      onSettled: (run: KnownRun) => Promise<void>;
      /** Called when the log has lost an end of which `onSettled` was told: the run must be ended again. */
      onLost: (run: KnownRun) => Promise<void>;
    },
  ) {
    this.#store = store;
    this.#reporter = options.reporter;
    this.#leaseMs = options.leaseMs;
    this.#closed = options.closed;
    this.#onSettled = options.onSettled;
    this.#onLost = options.onLost;
  }

  get hasListeners(): boolean {
    return this.#listeners.size > 0;
  }

  onEnd(listener: (end: RunEnd) => unknown): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Tells the listeners of the end of a run, unless they were told before. It never rejects.
   *
   * @returns whether all of them were told, and the log still has that end
   */
  async settle(
    run: KnownRun,
    ending: RunEnding,
    options: { isSettled: boolean; error?: unknown; onEnd?: (end: RunEnd) => unknown },
  ): Promise<boolean> {
    if (options.isSettled) {
      return true;
    }
    const known = this.#settling.get(run.epoch);
    if (known) {
      return known.notified;
    }
    const end = keptEnd(runEnd(run, ending, options.error));
    const notified = this.#notify(run, ending, { end, onEnd: options.onEnd });
    this.#settling.set(run.epoch, { end, notified });
    try {
      return await notified;
    } finally {
      this.#settling.delete(run.epoch);
    }
  }

  /**
   * Settles a run whose log is about to be replaced. It waits until another instance has told the listeners, or tells
   * them itself.
   */
  async settleBefore(state: RunState, ending: RunEnding): Promise<void> {
    // The caller does not renew its lease meanwhile, so this must be shorter than the lease.
    const until = performance.now() + this.#leaseMs / 2;
    let { isSettled } = state;
    while (!isSettled && !this.#settling.has(state.epoch) && performance.now() < until && state.ending) {
      await pause(POLL_MS);
      const now = await readState(this.#store, state.name);
      isSettled = now?.epoch !== state.epoch || now.isSettled;
    }
    const settling = this.settle(state, ending, { isSettled });
    const end = this.#settling.get(state.epoch)?.end;
    if (end) {
      // Read now: a listener that is called again later finds the answer gone from the log.
      await within(Promise.allSettled([end.items()]), this.#leaseMs / 4);
    }
    await within(settling, Math.max(0, until - performance.now()));
  }

  async #notify(
    run: KnownRun,
    ending: RunEnding,
    { end, onEnd }: { end: RunEnd; onEnd: ((end: RunEnd) => unknown) | undefined },
  ): Promise<boolean> {
    let pending = [...(onEnd ? [onEnd] : []), ...this.#listeners];
    for (const retryMs of [...RETRY_MS, undefined]) {
      const notified = await Promise.allSettled(pending.map(async (listener) => listener(end)));
      pending = pending.filter((_listener, index) => notified[index]!.status === 'rejected');
      if (pending.length === 0) {
        return this.#note(run, ending);
      }
      this.#report(run.id, notified, retryMs);
      if (retryMs === undefined) {
        break;
      }
      await pause(retryMs, this.#closed);
      // After a loss the run gets another end, with which the listeners are called.
      if (this.#closed.aborted || (await this.#hasLost(run, ending))) {
        break;
      }
    }
    return false;
  }

  #report(id: string, notified: readonly PromiseSettledResult<unknown>[], retryMs: number | undefined): void {
    const next = retryMs === undefined ? 'is not called again here' : `is called again in ${retryMs} ms`;
    for (const result of notified) {
      if (result.status === 'rejected') {
        this.#reporter.error(`An onEnd of the run ${show(id)} failed, and ${next}.`, result.reason);
      }
    }
  }

  /** Notes that all listeners were told. Returns false if the log has lost the end: the run must be ended again. */
  async #note(run: KnownRun, ending: RunEnding): Promise<boolean> {
    try {
      await run.log.append([controlRecord('settled')]);
    } catch (error) {
      // The listeners are called once more, by the instance that finds the run not settled.
      this.#reporter.debug(`That the end of a run was notified could not be noted: ${String(error)}`);
      return true;
    }
    const onFailure = (error: unknown) =>
      this.#reporter.debug(`That a run is settled could not be told: ${String(error)}`);
    await this.#onSettled(run).catch(onFailure);
    // Asked last: an older copy that takes the place of the logs later than this has no trace of the notes.
    if (await this.#hasLost(run, ending)) {
      await this.#onLost(run).catch(onFailure);
      return false;
    }
    return true;
  }

  /** Returns whether an older copy has taken the place of the log, and the end of the run is not in it. */
  async #hasLost({ name, epoch }: KnownRun, ending: RunEnding): Promise<boolean> {
    try {
      const state = await readState(this.#store, name);
      const fields = ['reason', 'events', 'bytes'] as const;
      return state?.epoch === epoch && fields.some((field) => state.ending?.[field] !== ending[field]);
    } catch (error) {
      this.#reporter.debug(`Whether a run has still ended could not be read: ${String(error)}`);
      return false;
    }
  }
}

/** Returns an end whose answer is read once and kept, so that it outlives the log of the run. */
function keptEnd(end: RunEnd): RunEnd {
  let kept: Promise<unknown[]> | undefined;
  return {
    ...end,
    async items() {
      kept ??= end.items();
      const reading = kept;
      try {
        // A list for each listener: one that changes its list must not change that of another.
        return [...(await reading)];
      } catch (error) {
        kept = kept === reading ? undefined : kept;
        throw error;
      }
    },
  };
}

/** Describes the end of a run to the app. */
function runEnd(run: KnownRun, { reason, events, bytes }: RunEnding, error: unknown): RunEnd {
  const items = async () => {
    const held = await readItems(run);
    // More are of another program, which can write to the log.
    if (held.events < events) {
      throw new SseError(
        'log-unavailable',
        `The log of the run ${show(run.id)} has ${held.events} of the ${events} events of its answer: it was lost, ` +
          'or replaced by an older copy.',
      );
    }
    return held.items;
  };
  return { ...runHandOver(run), reason, events, bytes, ...(error === undefined ? {} : { error }), items };
}

/** Describes a run to the app: which it is, and its answer so far. */
export function runHandOver(run: KnownRun): RunHandOver {
  const { id, epoch, begin } = run;
  return {
    id,
    key: epoch,
    ...(begin.owner === undefined ? {} : { owner: begin.owner }),
    items: async () => (await readItems(run)).items,
  };
}
