import { consume } from '../../stream/index.js';
import type { Deadline, DeadlineWheel } from '../../time/index.js';
import type { ItemSink, PublicError, StreamFormat } from '../../stream/index.js';
import type { Reporter } from '../../errors/index.js';
import type { EventLog, Lease, NewRecord } from '../../log/index.js';
import { reasonOf, SseError } from '../../errors/index.js';
import type { StartSettings, RunSource } from '../options.js';
import { controlRecord, eventRecords } from '../record/index.js';
import type { KnownRun, RunEnding, RunEndReason } from '../record/index.js';
import { RunAudience } from './audience.js';
import { closingEventsOfRun, failureOf } from './closing-frames.js';

/** The settings and functions that an instance gives a producer. */
export interface ProducerContext {
  readonly wheel: DeadlineWheel;
  readonly reporter: Reporter;
  readonly publicError: (error: unknown) => PublicError;
  readonly maxEventBytes: number;
  readonly leaseMs: number;
  /** Items that arrive within this time, in milliseconds, share an append. */
  readonly batchMs: number;
  /** Resolves when the slowest client of this instance takes more. */
  readonly clientsKeepUp: () => Promise<void>;
  /** Returns whether the app wants to be told of the end. */
  readonly isEndWanted: () => boolean;
  /** Keeps the log from expiring while no item is appended. */
  readonly touch: () => Promise<unknown>;
}

/** The end of a producer. */
export interface Produced {
  /** The recorded end. Undefined if it could not be recorded: the caretaker then has to record it. */
  readonly ending: RunEnding | undefined;
  readonly error?: unknown;
  /** The sequence of the last record, if it was appended. */
  readonly last?: number;
}

// The source is paused while as much waits for the log.
const PENDING_RECORDS = 500;
const PENDING_BYTES = 65_536;
// The most that may wait for the log if the source is an Observable, which cannot be paused.
const MOST_PENDING_BYTES = 4_194_304;

/**
 * The producer of one run. It pulls the source and appends the items to the log of the run, under the lease of the run:
 * the log accepts no other producer. When the run ends, the signal of the source aborts at once. One append then brings
 * the last items, the closing frames and the end.
 */
export class RunProducer implements ItemSink {
  readonly reporter: Reporter;
  /** The clients that are attached to the run, on all instances. */
  readonly audience: RunAudience;
  readonly #log: EventLog;
  readonly #lease: Lease;
  readonly #settings: StartSettings;
  readonly #context: ProducerContext;
  readonly #format: StreamFormat;
  readonly #abort = new AbortController();
  #closeListeners: (() => void)[] = [];
  #drainWaiters: (() => void)[] = [];
  #pending: NewRecord[] = [];
  #pendingBytes = 0;
  #events = 0;
  #bytes = 0;
  #flushTimer: NodeJS.Timeout | undefined;
  #isFlushDue = false;
  #flushing: Promise<void> | undefined;
  #flushedAt = -Infinity;
  /** The reason why no more can be appended. */
  #failure: Error | undefined;
  #deadlines = new Set<Deadline>();
  #lastItemAt = 0;
  /** Whether the source is paused by the log, or by clients. */
  #isHeld = false;
  #renewals = 0;
  #produced: Promise<Produced> | undefined;

  constructor(
    { log, begin }: KnownRun,
    lease: Lease,
    settings: StartSettings,
    options: {
      format: StreamFormat;
      context: ProducerContext;
      /** The size of the answer that a former producer has made. */
      before?: { events: number; bytes: number };
    },
  ) {
    const { format, context, before } = options;
    this.#events = before?.events ?? 0;
    this.#bytes = before?.bytes ?? 0;
    this.#log = log;
    this.#lease = lease;
    this.#settings = settings;
    this.#context = context;
    this.#format = format;
    this.reporter = context.reporter;
    this.audience = new RunAudience(settings, {
      wheel: context.wheel,
      presenceMs: begin.presenceMs ?? Infinity,
      end: (reason) => void this.end(reason),
    });
  }

  /** The token of its lease. */
  get token(): number {
    return this.#lease.token;
  }

  get hasEnded(): boolean {
    return this.#produced !== undefined;
  }

  /** Produces the run. Resolves when the end is recorded, or cannot be recorded. It never rejects. */
  async produce(source: RunSource, recorded: readonly unknown[]): Promise<Produced> {
    if (this.#lease.signal.aborted) {
      // The process has stood still since it got the lease.
      this.#onLeaseLost();
    }
    if (this.#produced) {
      // The run was stopped before it began.
      return this.#produced;
    }
    this.#lease.signal.addEventListener('abort', this.#onLeaseLost, { once: true });
    this.#watchTime();
    this.#renewLater();
    try {
      await new Promise<void>((resolve, reject) => {
        this.whenClosed(resolve);
        const consumer = { next: (item: unknown) => this.#take(item), error: reject, complete: resolve };
        // Called in a turn of its own: an error that the source throws at once ends the run like every other.
        Promise.resolve({ signal: this.#abort.signal, recorded })
          .then(source)
          .then((items) => consume(items, this, consumer))
          .catch(reject);
      });
    } catch (error) {
      return this.#produced ?? this.end('error', error);
    }
    return this.#produced ?? this.end('done');
  }

  /** Ends the run, unless it has ended. */
  end(reason: RunEndReason, error?: unknown): Promise<Produced> {
    if (!this.#produced) {
      this.#produced = this.#close(() => this.#recordEnd(reason, error));
      this.#release();
    }
    return this.#produced;
  }

  /** Ends the run or hands it over, as its start settings say, because the app is closing. */
  leaveAtShutdown(): Promise<Produced> {
    return this.#settings.onShutdown === 'end' ? this.end('shutdown') : this.#handOver();
  }

  #handOver(): Promise<Produced> {
    if (!this.#produced) {
      this.#produced = this.#close(async () => {
        const last = await this.#append([...this.#pending, controlRecord('handed-over')]);
        return { ending: undefined, last };
      });
      this.#release();
    }
    return this.#produced;
  }

  /** Stops without recording the end: the run was taken over, or its log is gone. */
  abandon(cause: unknown): void {
    if (!this.#produced) {
      this.#fail(cause);
      this.#produced = Promise.resolve({ ending: undefined, error: cause });
      this.#lease.signal.removeEventListener('abort', this.#onLeaseLost);
      this.#release();
    }
  }

  whenClosed(listener: () => void): void {
    if (this.#produced) {
      listener();
    } else {
      this.#closeListeners.push(listener);
    }
  }

  async drained(): Promise<void> {
    // idleMs does not count while the source is not asked for an item.
    this.#isHeld = true;
    if (this.#pending.length >= PENDING_RECORDS || this.#pendingBytes >= PENDING_BYTES) {
      await new Promise<void>((resolve) => {
        this.#drainWaiters.push(resolve);
      });
    }
    if (this.#settings.pauseForClients && !this.#produced) {
      await this.#context.clientsKeepUp();
    }
    this.#isHeld = false;
    this.#lastItemAt = this.#context.wheel.now();
  }

  /** Stops, because another instance has ended or taken over the run. */
  supersede(): void {
    this.#loseLease('The run was ended, or gone on with, by another process: this one was taken for gone.');
  }

  readonly #onLeaseLost = (): void => {
    this.#loseLease('Another process has the run now, or this one stood still for too long.');
  };

  #loseLease(message: string): void {
    this.abandon(new SseError('lease-lost', message));
  }

  #take(item: unknown): void {
    this.#lastItemAt = this.#context.wheel.now();
    const records = eventRecords('item', this.#format.encode(item), this.#context);
    const bytes = records.reduce((sum, { data }) => sum + Buffer.byteLength(data), 0);
    this.#refuseTooMuch(records.length, bytes);
    this.#events += records.length;
    this.#bytes += bytes;
    this.#pending.push(...records);
    this.#pendingBytes += bytes;
    this.#flushLater();
  }

  #refuseTooMuch(events: number, bytes: number): void {
    const { maxEvents, maxBytes } = this.#settings;
    if (this.#events + events > maxEvents || this.#bytes + bytes > maxBytes) {
      throw new SseError(
        'run-too-large',
        `The run has recorded ${this.#events} events and ${this.#bytes} bytes, and one more event would pass ` +
          `maxEvents (${maxEvents}) or maxBytes (${maxBytes}). Raise them in runs.start(), or ask for less.`,
      );
    }
    if (this.#pendingBytes > MOST_PENDING_BYTES) {
      throw new SseError(
        'run-too-large',
        `${this.#pendingBytes} bytes of the run wait for the log, and its source cannot be paused. ` +
          'Give an AsyncIterable or a ReadableStream, which is pulled as the log takes them.',
      );
    }
  }

  #flushLater(): void {
    if (this.#isFlushDue || this.#flushing) {
      return;
    }
    this.#isFlushDue = true;
    const flush = (): void => {
      this.#isFlushDue = false;
      if (!this.#produced) {
        this.#flush();
      }
    };
    const waitMs = this.#flushedAt + this.#context.batchMs - performance.now();
    if (waitMs > 0) {
      this.#flushTimer = setTimeout(flush, waitMs);
    } else {
      // Runs after all promises that can settle now, so that the items of one network packet share an append.
      process.nextTick(flush);
    }
  }

  #flush(): void {
    const records = this.#pending;
    this.#pending = [];
    this.#pendingBytes = 0;
    this.#flushedAt = performance.now();
    const flushing = this.#append(records);
    this.#flushing = flushing.then(
      () => this.#onFlushed(),
      (error: unknown) => {
        this.#fail(error);
        this.abandon(error);
      },
    );
  }

  #onFlushed(): void {
    this.#flushing = undefined;
    if (this.#pending.length > 0 && !this.#produced) {
      this.#flushLater();
    }
    this.#drainWaiters.splice(0).forEach((resolve) => resolve());
  }

  #fail(error: unknown): void {
    this.#failure ??= error instanceof Error ? error : new Error(reasonOf(error));
  }

  /**
   * Appends records. Callers never run two appends at once: if the first failed, there would be a gap before the
   * second.
   *
   * @returns the sequence of the last record
   */
  async #append(records: readonly NewRecord[]): Promise<number | undefined> {
    if (this.#failure) {
      throw this.#failure;
    }
    const appended = await this.#log.append(records, { lease: this.#lease });
    return appended.records.at(-1)?.sequence;
  }

  /** Makes the last append when the one under way has settled. */
  async #close(last: () => Promise<Produced>): Promise<Produced> {
    try {
      await this.#flushing;
      return await last();
    } catch (error) {
      this.#fail(error);
      return { ending: undefined, error };
    } finally {
      this.#lease.signal.removeEventListener('abort', this.#onLeaseLost);
    }
  }

  async #recordEnd(reason: RunEndReason, error: unknown): Promise<Produced> {
    const end = this.#closingRecords(reason, error);
    const records = [...this.#pending, ...end.last, controlRecord('end', end.ending)];
    const last = await this.#append(records);
    return { ending: end.ending, error: end.error, last };
  }

  #closingRecords(
    reason: RunEndReason,
    error: unknown,
  ): { last: readonly NewRecord[]; ending: RunEnding; error: unknown } {
    const { publicError } = this.#context;
    const failure = publicError(error);
    try {
      const { events, isCut } = closingEventsOfRun(this.#format, reason, failure);
      const last = eventRecords('last', events, { maxEventBytes: Infinity });
      return { last, ending: this.#endingOf(reason, failure, isCut), error };
    } catch (cause) {
      // The app's own format has thrown. The client cannot be told the end, so the answer counts as incomplete.
      this.reporter.error('The format of a run failed to tell its end; the responses are cut.', cause);
      return { last: [], ending: this.#endingOf('error', publicError(cause), true), error: error ?? cause };
    }
  }

  #endingOf(reason: RunEndReason, error: PublicError, isCut: boolean): RunEnding {
    const { message, status } = failureOf(reason, error);
    const isFailure = reason === 'error' || reason === 'timeout' || reason === 'shutdown';
    return {
      reason,
      events: this.#events,
      bytes: this.#bytes,
      ...(isFailure ? { failure: { message, status } } : {}),
      isCut,
      isSettled: !this.#context.isEndWanted(),
    };
  }

  /** Stops the source and all timers, and releases all waiters. */
  #release(): void {
    clearTimeout(this.#flushTimer);
    this.#deadlines.forEach((deadline) => this.#context.wheel.cancel(deadline));
    this.#deadlines.clear();
    this.#abort.abort();
    this.#closeListeners.splice(0).forEach((listener) => listener());
    this.#drainWaiters.splice(0).forEach((resolve) => resolve());
  }

  #watchTime(): void {
    const { timeoutMs, idleMs } = this.#settings;
    this.#lastItemAt = this.#context.wheel.now();
    if (timeoutMs !== undefined) {
      this.#schedule(timeoutMs, () => this.#timeOut(`It has not ended within timeoutMs (${timeoutMs}).`));
    }
    if (idleMs !== undefined) {
      this.#watchIdle(idleMs, idleMs);
    }
  }

  /** Checks again when the silence could be long enough, which costs less than a deadline for each item. */
  #watchIdle(idleMs: number, waitMs: number): void {
    this.#schedule(waitMs, () => {
      const leftMs = this.#isHeld ? idleMs : this.#lastItemAt + idleMs - this.#context.wheel.now();
      if (leftMs > 0) {
        this.#watchIdle(idleMs, leftMs);
      } else {
        this.#timeOut(`Its source gave no item within idleMs (${idleMs}).`);
      }
    });
  }

  #timeOut(message: string): void {
    void this.end('timeout', new SseError('run-timeout', message));
  }

  #renewLater(): void {
    this.#schedule(this.#context.leaseMs / 4, () => {
      this.#renew().catch((error: unknown) =>
        this.reporter.debug(`A run's lease could not be renewed: ${String(error)}`),
      );
      this.#renewLater();
    });
  }

  async #renew(): Promise<void> {
    this.#renewals += 1;
    await this.#lease.renew();
    // A log without appends would expire.
    if (this.#renewals % 3 === 0 && !this.#produced) {
      await this.#context.touch();
    }
  }

  #schedule(delayMs: number, expire: () => void): void {
    const deadline = this.#context.wheel.schedule(delayMs, () => {
      this.#deadlines.delete(deadline);
      expire();
    });
    this.#deadlines.add(deadline);
  }
}
