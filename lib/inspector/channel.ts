import { MAX_TIMER_MS, reasonOf } from '../errors/index.js';
import type { RepeatedReport } from '../errors/index.js';
import type { EventLogStore, LogListener, LogRecord, NamedLog, NewRecord } from '../log/index.js';
import type { Deadline, DeadlineWheel } from '../time/index.js';
import { readRecord } from './records.js';
import type { InspectorRecord } from './records.js';

/** The inspector of an instance, as its channel sees it. */
export interface ChannelHost {
  readonly wheel: DeadlineWheel;
  readonly reports: RepeatedReport;
  onRecord(record: InspectorRecord): void;
}

const NAME = 'inspector';
// What was written before an instance listens does not concern it.
const MAX_EVENTS = 256;
const RETRY_MS = 1_000;

/**
 * A named log by which the inspectors of all instances tell one another what their pages look at, and what they show.
 * Every instance listens; nothing is written while no page is open.
 */
export class InspectorChannel implements LogListener {
  readonly #store: EventLogStore;
  readonly #host: ChannelHost;
  #log: NamedLog | undefined;
  #stop: (() => void) | undefined;
  #later: Deadline | undefined;
  #isClosed = false;

  constructor(store: EventLogStore, host: ChannelHost) {
    this.#store = store;
    this.#host = host;
  }

  /** Listens from now on, once the log can be reached. It never rejects. */
  async start(): Promise<void> {
    // No other process reads what an engine in this process holds.
    if (!this.#store.isShared || this.#isClosed || this.#log) {
      return;
    }
    try {
      const log = await this.#store.open(NAME, { maxEvents: MAX_EVENTS, ttlMs: MAX_TIMER_MS });
      const { stop } = await log.follow(this);
      this.#stop = stop;
      this.#log = log;
      if (this.#isClosed) {
        stop();
      }
    } catch (error) {
      this.#host.reports.debug('follow', () => `The inspector cannot listen yet: ${reasonOf(error)}`);
      this.#startLater();
    }
  }

  /** Tells the other instances. @returns whether the log has it */
  async send(records: readonly NewRecord[]): Promise<boolean> {
    if (!this.#log || records.length === 0) {
      return false;
    }
    try {
      await this.#log.append(records);
      return true;
    } catch (error) {
      this.#host.reports.debug('send', () => `The inspector cannot tell other instances: ${reasonOf(error)}`);
      return false;
    }
  }

  onRecords(records: readonly LogRecord[]): void {
    for (const record of records) {
      const read = readRecord(record);
      if (read) {
        this.#host.onRecord(read);
      }
    }
  }

  onReset(): void {
    this.#unfollow();
    this.#startLater();
  }

  close(): void {
    this.#isClosed = true;
    this.#host.wheel.cancel(this.#later);
    this.#unfollow();
  }

  #startLater(): void {
    const { wheel } = this.#host;
    wheel.cancel(this.#later);
    if (!this.#isClosed) {
      this.#later = wheel.schedule(RETRY_MS * (0.5 + Math.random()), () => void this.start());
    }
  }

  #unfollow(): void {
    this.#stop?.();
    this.#stop = undefined;
    this.#log = undefined;
  }
}
