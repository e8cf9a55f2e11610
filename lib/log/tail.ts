import { formatPosition, NO_NONCE } from '../wire/index.js';
import type { Position, PositionParts } from '../wire/index.js';
import type { EventLog, LogHead, LogListener, LogRecord, LossReason } from './event-log.js';
import { LogEvent } from './log-event.js';
import { LogPages } from './pages.js';
import type { EventPage } from './pages.js';
import { Ring } from './ring.js';

/** A listener to all events of the log, in order. */
export interface TailListener {
  /** Receives events. @returns a promise if the listener does not keep up; it resolves when it can take more */
  onEvents(events: readonly LogEvent[]): Promise<void> | void;
  /** Called if the received events do not go on. */
  onReset(reason: LossReason): void;
}

// A log that is lost again and again has more former epochs. For older ones the log is read.
const MAX_FORMER_EPOCHS = 16;
// Engines notice within about three seconds that their connections lead to different servers.
const OTHER_SERVER_MS = 5_000;
const PAGE_AGAIN_MS = 250;

/** A log as this process sees it: the newest part in a ring, the rest in pages. */
export class LogTail implements LogListener {
  readonly ring: Ring;
  readonly #log: EventLog;
  readonly #ringEvents: number;
  readonly #ringBytes: number;
  readonly #listener: TailListener;
  readonly #pages: LogPages;
  #epoch = '';
  /** The nonce of the head, also if the ring is empty. */
  #headNonce = NO_NONCE;
  #stop: (() => void) | undefined;
  #isStopped = false;
  /** Epochs that were replaced, the latest first. */
  #formerEpochs: readonly string[] = [];
  /** Increases with each reset. */
  #generation = 0;
  /** The check whether the log still has the head of this generation. Concurrent callers share it. */
  #checking: Promise<boolean> | undefined;
  #waitingAgain: Promise<unknown> | undefined;
  #waiters: { sequence: number; resolve: (isThere: boolean) => void; timer: NodeJS.Timeout }[] = [];

  constructor(log: EventLog, options: { ringEvents: number; ringBytes: number; listener: TailListener }) {
    this.#log = log;
    this.#listener = options.listener;
    this.#ringEvents = options.ringEvents;
    this.#ringBytes = options.ringBytes;
    this.ring = new Ring(options.ringEvents, options.ringBytes);
    this.#pages = new LogPages(log, {
      maxBytes: options.ringBytes,
      findHeld: (record) => this.#findHeld(record),
    });
  }

  get epoch(): string {
    return this.#epoch;
  }

  /** The sequence of the newest event that this process has received. */
  get last(): number {
    return this.ring.last;
  }

  get position(): Position {
    return formatPosition({ epoch: this.#epoch, sequence: this.last, nonce: this.#headNonce });
  }

  /**
   * Fills the ring and follows the tail.
   *
   * @param newest - how many events to fill the ring with; as many as it holds by default
   */
  async start(newest = this.#ringEvents): Promise<void> {
    const { head, recent, stop } = await this.#log.follow(this, {
      recent: newest,
      // A third, since an event also keeps its frame in two forms: see LogEvent.weight.
      recentBytes: this.#ringBytes / 3,
    });
    if (this.#isStopped) {
      stop();
      return;
    }
    this.#stop = stop;
    this.#begin(head, recent);
  }

  stop(): void {
    this.#isStopped = true;
    this.#stop?.();
    this.#stop = undefined;
    this.#pages.stop();
    this.#releaseWaiters();
  }

  /** Waits until the tail has a sequence, for a time at most. @returns whether it has */
  async reaches(sequence: number, withinMs: number): Promise<boolean> {
    if (this.last >= sequence || this.#isStopped) {
      return this.last >= sequence;
    }
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#waiters = this.#waiters.filter((waiter) => waiter.resolve !== resolve);
        resolve(false);
      }, withinMs);
      this.#waiters.push({ sequence, resolve, timer });
    });
  }

  /** Returns whether this process has followed a log with that epoch until another one replaced it. */
  isFormerEpoch(epoch: string): boolean {
    return this.#formerEpochs.includes(epoch);
  }

  /**
   * Checks whether the log still has this process's head. If it does not, the log was replaced or has diverged, and a
   * reset is about to come: waits for it.
   *
   * @returns whether there was a reset, so that earlier answers of this tail are out of date
   * @throws the error of the log; an error if no reset comes within the time
   */
  async isOutdated(withinMs: number): Promise<boolean> {
    const generation = this.#generation;
    const isCurrent = await (this.#checking ??= this.#checkHead());
    if (!isCurrent && generation === this.#generation) {
      // No log reaches that far. A reset releases all waiters.
      await this.reaches(Infinity, withinMs);
      if (generation === this.#generation) {
        throw new Error('The log has gone another way, and this process did not hear of it in time.');
      }
    }
    return generation !== this.#generation;
  }

  /**
   * Reads a page of the log after a sequence, with the event at that sequence as its anchor.
   *
   * An engine sends requests on another connection than it reads on. After a failover that connection may still lead to
   * the former master: its page is no answer, and is requested again until the engine has left that server.
   *
   * @throws the error of the log; an error if another server goes on answering
   */
  async pageAfter(sequence: number): Promise<EventPage> {
    const deadline = performance.now() + OTHER_SERVER_MS;
    for (;;) {
      const generation = this.#generation;
      const page = await this.#pages.after(sequence);
      // After a reset, the caller discards the page.
      if (generation !== this.#generation || this.#isStopped || !this.#isOfAnotherServer(page)) {
        return page;
      }
      this.#pages.clear();
      if (performance.now() >= deadline) {
        throw new Error('Pages of the log come from another server than its newest events.');
      }
      await this.#untilAgain();
    }
  }

  /** Waits for a moment, or until a reset. All callers wait together, and share the next request. */
  #untilAgain(): Promise<unknown> {
    // No log reaches that far. A reset releases all waiters.
    this.#waitingAgain ??= this.reaches(Infinity, PAGE_AGAIN_MS).finally(
      () => (this.#waitingAgain = undefined),
    );
    return this.#waitingAgain;
  }

  /** Reads the lowest sequence that the log holds, also below the ring. */
  firstHeld(): Promise<number> {
    return this.#pages.first();
  }

  /** Returns whether the ring holds the event of a position; undefined if it holds no event with that sequence. */
  holds({ sequence, nonce }: PositionParts): boolean | undefined {
    if (sequence === this.last) {
      return nonce === this.#headNonce;
    }
    const event = this.ring.at(sequence);
    return event && event.record.nonce === nonce;
  }

  onRecords(records: readonly LogRecord[]): Promise<void> | void {
    const events = records.map((record) => this.#add(record));
    this.#wake();
    return this.#listener.onEvents(events);
  }

  onReset(head: LogHead, reason: LossReason): void {
    this.#generation += 1;
    this.#checking = undefined;
    if (head.epoch !== this.#epoch) {
      this.#formerEpochs = [this.#epoch, ...this.#formerEpochs].slice(0, MAX_FORMER_EPOCHS);
    }
    this.#begin(head, []);
    // Waiters may wait for a sequence of the former log.
    this.#releaseWaiters();
    this.#listener.onReset(reason);
  }

  #begin(head: LogHead, recent: readonly LogRecord[]): void {
    this.#epoch = head.epoch;
    this.#headNonce = head.nonce;
    this.#pages.clear();
    this.ring.clear(recent.length > 0 ? recent[0]!.sequence - 1 : head.sequence);
    for (const record of recent) {
      this.#add(record);
    }
    this.#wake();
  }

  #add(record: LogRecord): LogEvent {
    const event = new LogEvent(record, this.#epoch);
    this.ring.push(event);
    this.#headNonce = record.nonce;
    return event;
  }

  #wake(): void {
    if (this.#waiters.length === 0) {
      return;
    }
    const arrived = this.#waiters.filter(({ sequence }) => sequence <= this.last);
    this.#waiters = this.#waiters.filter(({ sequence }) => sequence > this.last);
    for (const { resolve, timer } of arrived) {
      clearTimeout(timer);
      resolve(true);
    }
  }

  /** Releases all waiters. */
  #releaseWaiters(): void {
    for (const { sequence, resolve, timer } of this.#waiters.splice(0)) {
      clearTimeout(timer);
      resolve(this.last >= sequence);
    }
  }

  async #checkHead(): Promise<boolean> {
    const generation = this.#generation;
    try {
      return await this.#holdsHead();
    } finally {
      if (generation === this.#generation) {
        this.#checking = undefined;
      }
    }
  }

  async #holdsHead(): Promise<boolean> {
    const { last } = this;
    const [before, nonce] = [this.#epoch, this.#headNonce];
    const { epoch, records, head } = await this.#log.page(Math.max(1, last), 1);
    if (epoch !== before || head < last) {
      return false;
    }
    const [record] = records;
    // If the record was trimmed, the page tells nothing.
    return record?.sequence !== last || record.nonce === nonce;
  }

  /** Returns whether a page contradicts this process's own knowledge: its former epochs, and the events of its ring. */
  #isOfAnotherServer({ epoch, block }: EventPage): boolean {
    if (epoch !== this.#epoch) {
      return this.isFormerEpoch(epoch);
    }
    const newest = block.findLast(({ record }) => record.sequence <= this.last);
    return newest !== undefined && this.holds({ epoch, ...newest.record }) === false;
  }

  /** Finds the ring's event, whose frame may have been made already. */
  #findHeld({ sequence, nonce }: LogRecord): LogEvent | undefined {
    const held = this.ring.at(sequence);
    return held?.record.nonce === nonce ? held : undefined;
  }
}
