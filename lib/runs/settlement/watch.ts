import type { Deadline, DeadlineWheel } from '../../time/index.js';
import type { Reporter } from '../../errors/index.js';
import { nameOf, openOf, partsOf } from '../record/index.js';
import type { EventLog, EventLogStore, LogListener, LogRecord, NewRecord } from '../../log/index.js';

/** The runs of an instance, as the watch sees them. */
export interface WatchHost {
  readonly wheel: DeadlineWheel;
  readonly reporter: Reporter;
  readonly leaseMs: number;
  /** Ends a run whose producer is gone. Returns whether nothing is left to be done for the run. */
  finishIfDead(name: string): Promise<boolean>;
  /** Whether a run is in the log whose end the app was not told of. */
  isOpen(name: string): Promise<boolean>;
  /** Whether the producer of a run is on this instance. */
  isProducedHere(name: string): boolean;
}

const NAME = 'runs';
const SWEEP = 'runs:sweep';
const MAX_EVENTS = 100_000;
const RECENT_EVENTS = 10_000;
const TTL_MS = 86_400_000;
const RETRY_MS = 1_000;

/**
 * A list of the runs that are not settled, in a log that all instances share. If a process dies while no client is
 * attached to its run, only this list shows it. One instance at a time checks the list, about every `leaseMs`.
 */
export class RunWatch implements LogListener {
  readonly #store: EventLogStore;
  readonly #host: WatchHost;
  /** The names of the runs that are not settled, with the key of each. */
  readonly #open = new Map<string, string>();
  #log: Promise<EventLog> | undefined;
  #stop: (() => void) | undefined;
  #next: Deadline | undefined;
  #isWatching = false;
  #isClosed = false;

  constructor(store: EventLogStore, host: WatchHost) {
    this.#store = store;
    this.#host = host;
  }

  /** Begins to check the runs of all instances. */
  start(): void {
    // A log in the memory of one process dies with that process: no run is left to be checked.
    if (!this.#isWatching && this.#store.isShared && !this.#isClosed) {
      this.#isWatching = true;
      void this.#follow();
    }
  }

  /** Notes that a run has begun, or that all listeners were told of its end. */
  async note(what: 'begun' | 'settled', name: string, key: string): Promise<void> {
    if (!this.#isWatching || this.#isClosed) {
      return;
    }
    const log = await this.#opened();
    try {
      await log.append([noteOf(what, name, key)]);
    } catch (error) {
      // The log may be lost with its engine: the next call opens it anew.
      this.#log = undefined;
      throw error;
    }
  }

  close(): void {
    this.#isClosed = true;
    this.#host.wheel.cancel(this.#next);
    this.#stop?.();
  }

  onRecords(records: readonly LogRecord[]): void {
    for (const { topic, data } of records) {
      const entry = openOf({ data });
      if (!entry) {
        continue;
      }
      const [id, key, owner] = entry;
      const name = nameOf(id, owner);
      if (topic === 'begun') {
        this.#open.set(name, key);
      } else if (this.#open.get(name) === key) {
        this.#open.delete(name);
      }
      if (this.#open.size > MAX_EVENTS) {
        const [oldest] = this.#open.keys();
        this.#open.delete(oldest!);
      }
    }
  }

  onReset(): void {
    this.#stop = undefined;
    this.#log = undefined;
    void this.#follow();
  }

  #opened(): Promise<EventLog> {
    this.#log ??= this.#store.open(NAME, { maxEvents: MAX_EVENTS, ttlMs: TTL_MS });
    return this.#log;
  }

  async #follow(): Promise<void> {
    try {
      const log = await this.#opened();
      const { recent, stop } = await log.follow(this, { recent: RECENT_EVENTS });
      if (this.#isClosed) {
        stop();
        return;
      }
      this.#stop = stop;
      this.onRecords(recent);
      this.#sweepLater();
    } catch (error) {
      this.#log = undefined;
      this.#host.reporter.debug(`The list of runs cannot be followed yet: ${String(error)}`);
      this.#schedule(RETRY_MS, () => void this.#follow());
    }
  }

  /** Schedules the next sweep, at random, so that not all instances sweep at once. */
  #sweepLater(): void {
    this.#schedule(this.#host.leaseMs * (0.75 + Math.random() / 2), () => {
      this.#sweep()
        .catch((error: unknown) =>
          this.#host.reporter.debug(`Runs could not be looked after: ${String(error)}`),
        )
        .finally(() => this.#sweepLater());
    });
  }

  async #sweep(): Promise<void> {
    const others = Array.from(this.#open).filter(([name]) => !this.#host.isProducedHere(name));
    // This lease is not released: until it runs out, no other instance sweeps.
    if (others.length === 0 || !(await this.#store.lease(SWEEP, { ttlMs: this.#host.leaseMs }))) {
      return;
    }
    for (const [name, key] of others) {
      if (this.#isClosed || this.#open.get(name) !== key) {
        continue;
      }
      if (await this.#host.finishIfDead(name)) {
        await this.note('settled', name, key);
        // An older copy may have taken the place of the logs just before the note: the run is in it as it was.
        if (await this.#host.isOpen(name)) {
          await this.note('begun', name, key);
        }
      }
    }
  }

  #schedule(delayMs: number, task: () => void): void {
    if (!this.#isClosed) {
      this.#host.wheel.cancel(this.#next);
      this.#next = this.#host.wheel.schedule(delayMs, task);
    }
  }
}

/**
 * Makes an entry of the list. The owner stands last: instances of version 0.1 read the first two, for runs without one.
 */
function noteOf(what: 'begun' | 'settled', name: string, key: string): NewRecord {
  const { id, owner } = partsOf(name);
  const note = owner === undefined ? [id, key] : [id, key, owner];
  return { topic: what, data: JSON.stringify(note), isJson: true };
}
