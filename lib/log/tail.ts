import { formatPosition, NO_NONCE } from '../wire/index.js';
import type { Position, PositionParts } from '../wire/index.js';
import type { EventLog, LogHead, LogListener, LogRecord, LossReason } from './event-log.js';
import { LogEvent } from './log-event.js';
import { LogPages } from './pages.js';
import type { EventPage } from './pages.js';
import { Ring } from './ring.js';

/** Whoever wants to know of each event of the log, in order. */
export interface TailListener {
  /** @returns what resolves when more can be told; undefined where it can be at once */
  onEvents(events: readonly LogEvent[]): Promise<void> | void;
  /** What was followed does not go on. */
  onReset(reason: LossReason): void;
}

// A log that is lost again and again has more; of older ones it is asked.
const LEFT_EPOCHS = 16;

/** A log as this process sees it: its newest part in a ring, the rest in pages. */
export class LogTail implements LogListener {
  readonly ring: Ring;
  readonly #log: EventLog;
  readonly #ringEvents: number;
  readonly #ringBytes: number;
  readonly #listener: TailListener;
  readonly #pages: LogPages;
  #epoch = '';
  /** The nonce of the place at the ring's end, also where the ring is empty. */
  #headNonce = NO_NONCE;
  #stop: (() => void) | undefined;
  #isStopped = false;
  /** Epochs of logs that this one has followed, the latest first. */
  #left: readonly string[] = [];
  /** Counts the resets. */
  #life = 0;
  /** Whether the log has the head of this life, for all who ask at the same time. */
  #asked: Promise<boolean> | undefined;
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

  /** The sequence of the newest event that this process has. */
  get last(): number {
    return this.ring.last;
  }

  get position(): Position {
    return formatPosition({ epoch: this.#epoch, sequence: this.last, nonce: this.#headNonce });
  }

  /**
   * Resolves when the ring is filled and the tail followed.
   *
   * @param newest how many events the ring is filled with, as many as it takes by default
   */
  async start(newest = this.#ringEvents): Promise<void> {
    const { head, recent, stop } = await this.#log.follow(this, {
      recent: newest,
      // An event's record counts with its frame, which is kept in two forms: see LogEvent.weight.
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
    this.#letGo();
  }

  /** Whether the tail gets as far as that sequence within the time. */
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

  /** Whether this process has followed a log of that epoch, until another took its place. */
  hasLeft(epoch: string): boolean {
    return this.#left.includes(epoch);
  }

  /**
   * Asks whether the log still has the place where this process is. Where it has not, it is another, or
   * has gone another way, and the process is about to hear of it: waits until it has.
   *
   * @returns whether what this tail said of positions before is out of date
   * @throws what the log fails with, or where nothing is heard within the time
   */
  async isOutdated(withinMs: number): Promise<boolean> {
    const life = this.#life;
    const isCurrent = await (this.#asked ??= this.#askOnce());
    if (!isCurrent && life === this.#life) {
      // No log reaches that far: a reset lets go of all who wait.
      await this.reaches(Infinity, withinMs);
      if (life === this.#life) {
        throw new Error('The log has gone another way, and this process did not hear of it in time.');
      }
    }
    return life !== this.#life;
  }

  /** A page of the log after a sequence, with the event at that sequence as its anchor. */
  pageAfter(sequence: number): Promise<EventPage> {
    return this.#pages.after(sequence);
  }

  /** The lowest sequence that the log holds, also below the ring. */
  firstHeld(): Promise<number> {
    return this.#pages.first();
  }

  /** Whether the event at a position is the one that the ring holds there; undefined where the ring holds none. */
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
    this.#life += 1;
    this.#asked = undefined;
    if (head.epoch !== this.#epoch) {
      this.#left = [this.#epoch, ...this.#left].slice(0, LEFT_EPOCHS);
    }
    this.#begin(head, []);
    // What they wait for may be of the log that was.
    this.#letGo();
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

  /** Has nobody wait any longer. */
  #letGo(): void {
    for (const { sequence, resolve, timer } of this.#waiters.splice(0)) {
      clearTimeout(timer);
      resolve(this.last >= sequence);
    }
  }

  async #askOnce(): Promise<boolean> {
    const life = this.#life;
    try {
      return await this.#holdsHead();
    } finally {
      if (life === this.#life) {
        this.#asked = undefined;
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
    // Trimmed, it tells nothing.
    return record?.sequence !== last || record.nonce === nonce;
  }

  /** The ring's own, whose frame may have been made already. */
  #findHeld({ sequence, nonce }: LogRecord): LogEvent | undefined {
    const held = this.ring.at(sequence);
    return held?.record.nonce === nonce ? held : undefined;
  }
}
