import { formatPosition, NO_NONCE } from '../wire/index.js';
import type { Position, PositionParts } from '../wire/index.js';
import type { EventLog, LogHead, LogListener, LogRecord, LossReason } from './event-log.js';
import { LogEvent } from './log-event.js';
import { Ring } from './ring.js';

/** Records of a log from the one after a sequence on, as events. */
export interface EventPage {
  /** The epoch that they are of; another than the tail's where the log was replaced meanwhile. */
  readonly epoch: string;
  /** The event at the sequence itself, which tells whether it is still the one that a client has seen. */
  readonly anchor: LogEvent | undefined;
  readonly events: readonly LogEvent[];
  /** The lowest sequence that the log holds. */
  readonly first: number;
  readonly head: number;
}

/** Whoever wants to know of each event of the log, in order. */
export interface TailListener {
  onEvents(events: readonly LogEvent[]): void;
  /** What was followed does not go on. */
  onReset(reason: LossReason): void;
}

const PAGE_EVENTS = 500;

/**
 * A log as this process sees it: its newest part in a ring, the rest in pages, which are asked for
 * once however many clients want the same.
 */
export class LogTail implements LogListener {
  readonly ring: Ring;
  readonly #log: EventLog;
  readonly #ringEvents: number;
  readonly #listener: TailListener;
  #epoch = '';
  /** The nonce of the place at the ring's end, also where the ring is empty. */
  #headNonce = NO_NONCE;
  #stop: (() => void) | undefined;
  #isStopped = false;
  readonly #pages = new Map<number, Promise<EventPage>>();
  #waiters: { sequence: number; resolve: (isThere: boolean) => void; timer: NodeJS.Timeout }[] = [];

  constructor(log: EventLog, options: { ringEvents: number; ringBytes: number; listener: TailListener }) {
    this.#log = log;
    this.#listener = options.listener;
    this.#ringEvents = options.ringEvents;
    this.ring = new Ring(options.ringEvents, options.ringBytes);
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

  /** Resolves when the ring is filled and the tail followed. */
  async start(): Promise<void> {
    const { head, recent, stop } = await this.#log.follow(this, { recent: this.#ringEvents });
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
    for (const { resolve, timer } of this.#waiters.splice(0)) {
      clearTimeout(timer);
      resolve(false);
    }
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

  /** A page of the log after a sequence, with the event at that sequence as its anchor. */
  async pageAfter(sequence: number): Promise<EventPage> {
    let page = this.#pages.get(sequence);
    if (!page) {
      page = this.#readPage(sequence).finally(() => this.#pages.delete(sequence));
      this.#pages.set(sequence, page);
    }
    return page;
  }

  /** Whether the event at a position is the one that the ring holds there; undefined where the ring holds none. */
  holds({ sequence, nonce }: PositionParts): boolean | undefined {
    if (sequence === this.last) {
      return nonce === this.#headNonce;
    }
    const event = this.ring.at(sequence);
    return event && event.record.nonce === nonce;
  }

  onRecords(records: readonly LogRecord[]): void {
    const events = records.map((record) => this.#add(record));
    this.#wake();
    this.#listener.onEvents(events);
  }

  onReset(head: LogHead, reason: LossReason): void {
    this.#begin(head, []);
    this.#listener.onReset(reason);
  }

  #begin(head: LogHead, recent: readonly LogRecord[]): void {
    this.#epoch = head.epoch;
    this.#headNonce = head.nonce;
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

  /** The ring's own, whose frame may have been made already. */
  #shared({ sequence, nonce }: LogRecord): LogEvent | undefined {
    const held = this.ring.at(sequence);
    return held?.record.nonce === nonce ? held : undefined;
  }

  async #readPage(sequence: number): Promise<EventPage> {
    const { epoch, records, first, head } = await this.#log.page(Math.max(1, sequence), PAGE_EVENTS + 1);
    const events = records.map((record) => this.#shared(record) ?? new LogEvent(record, epoch));
    const hasAnchor = events[0]?.record.sequence === sequence;
    return {
      epoch,
      anchor: hasAnchor ? events[0] : undefined,
      events: hasAnchor ? events.slice(1) : events,
      first,
      head,
    };
  }
}
