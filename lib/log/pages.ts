import type { EventLog, LogPage, LogRecord } from './event-log.js';
import { LogEvent } from './log-event.js';

/** Records of a log from the one after a sequence on, as events. */
export interface EventPage {
  /** The epoch that they are of; another than the tail's where the log was replaced meanwhile. */
  readonly epoch: string;
  /** The event at the sequence itself, which tells whether it is still the one that a client has seen. */
  readonly anchor: LogEvent | undefined;
  /** What follows it, without a gap: one at least where the log has one. */
  readonly events: readonly LogEvent[];
  /** The events of the block that the page ends with: the same array for all clients that read the block. */
  readonly block: readonly LogEvent[];
  /** The lowest sequence that the log held when it was asked, which for a page that was kept is seconds ago. */
  readonly first: number;
  readonly head: number;
}

/** What the log has answered to one request. */
interface Block {
  readonly epoch: string;
  readonly events: readonly LogEvent[];
  readonly first: number;
  readonly head: number;
  /** The sequence of its last event; the head where it has none. */
  readonly last: number;
}

interface KeptBlock {
  readonly block: Block;
  readonly bytes: number;
  usedAt: number;
}

// A block has one more: the anchor of who goes on at its start, whose next events stand in it as well.
const BLOCK_EVENTS = 500;
// Clients that come back together want the same blocks, each a little sooner or later than the others.
const KEPT_MS = 2_000;

/**
 * The part of a log that is below the ring, for however many clients read it: it is asked for in
 * blocks that begin where all of them look for them, one request for those who want a block at the
 * same time, and none while it is still kept for those who wanted it just before.
 */
export class LogPages {
  readonly #log: EventLog;
  readonly #maxBytes: number;
  readonly #findHeld: (record: LogRecord) => LogEvent | undefined;
  readonly #asked = new Map<number, Promise<Block>>();
  /** By the sequence that they were asked from; the one that was used last stands last. */
  readonly #kept = new Map<number, KeptBlock>();
  #keptBytes = 0;
  /** Of those that are kept. */
  #epoch = '';
  #timer: NodeJS.Timeout | undefined;
  #askedFirst: Promise<LogPage> | undefined;
  /** Counts how often all was dropped: what was asked for before that is not kept after it. */
  #life = 0;
  #isStopped = false;

  /**
   * @param options.maxBytes what is kept may take, as {@link LogEvent.weight} counts
   * @param options.findHeld finds the event of a record where this process has made one already
   */
  constructor(
    log: EventLog,
    options: { maxBytes: number; findHeld: (record: LogRecord) => LogEvent | undefined },
  ) {
    this.#log = log;
    this.#maxBytes = options.maxBytes;
    this.#findHeld = options.findHeld;
  }

  /** A page after a sequence, with the event at that sequence as its anchor. */
  async after(sequence: number): Promise<EventPage> {
    const start = sequence - (sequence % BLOCK_EVENTS);
    const end = start + BLOCK_EVENTS;
    const block = await this.#read(start, end, sequence);
    // Large records are given a few at a time: the log is asked from where they ended.
    return pageOf(isCutBefore(block, sequence) ? await this.#read(sequence, end, sequence) : block, sequence);
  }

  /** The lowest sequence that the log holds. It is asked: what is kept would tell what was. */
  async first(): Promise<number> {
    this.#askedFirst ??= this.#log.page(1, 1).finally(() => (this.#askedFirst = undefined));
    return (await this.#askedFirst).first;
  }

  /** Drops what is kept, and does not keep what is on its way. */
  clear(): void {
    this.#life += 1;
    this.#asked.clear();
    this.#forget();
  }

  stop(): void {
    this.#isStopped = true;
    this.clear();
  }

  /** Reads from one sequence to another, for someone who wants what comes after a third between them. */
  async #read(from: number, to: number, after: number): Promise<Block> {
    const shared = this.#use(from) ?? this.#asked.get(from);
    if (shared) {
      const block = await shared;
      // One that was asked for earlier may end at a head that the log has left since.
      if (block.last > after || isCutBefore(block, after)) {
        return block;
      }
    }
    return this.#asked.get(from) ?? this.#ask(from, to);
  }

  #ask(from: number, to: number): Promise<Block> {
    const asking = this.#load(from, to);
    this.#asked.set(from, asking);
    return asking;
  }

  async #load(from: number, to: number): Promise<Block> {
    const life = this.#life;
    try {
      const lowest = Math.max(1, from);
      const { epoch, records, first, head } = await this.#log.page(lowest, to - lowest + 1);
      const events = records.map((record) => this.#findHeld(record) ?? new LogEvent(record, epoch));
      const block = { epoch, events, first, head, last: events.at(-1)?.record.sequence ?? head };
      if (life === this.#life && !this.#isStopped) {
        this.#keep(from, to, block);
      }
      return block;
    } finally {
      if (life === this.#life) {
        this.#asked.delete(from);
      }
    }
  }

  #keep(from: number, to: number, block: Block): void {
    if (block.epoch !== this.#epoch) {
      this.#forget();
      this.#epoch = block.epoch;
    }
    // One that ends at the head is out of date with the next event.
    const isWhole = block.last >= to || block.last < block.head;
    const bytes = block.events.reduce((sum, { weight }) => sum + weight, 0);
    if (!isWhole || bytes > this.#maxBytes) {
      return;
    }
    this.#kept.set(from, { block, bytes, usedAt: performance.now() });
    this.#keptBytes += bytes;
    for (const [oldest, kept] of this.#kept) {
      if (this.#keptBytes <= this.#maxBytes) {
        break;
      }
      this.#drop(oldest, kept);
    }
    this.#timer ??= this.#nextSweep();
  }

  #use(from: number): Block | undefined {
    const kept = this.#kept.get(from);
    if (kept) {
      kept.usedAt = performance.now();
      this.#kept.delete(from);
      this.#kept.set(from, kept);
    }
    return kept?.block;
  }

  #sweep(): void {
    const before = performance.now() - KEPT_MS;
    for (const [from, kept] of this.#kept) {
      if (kept.usedAt > before) {
        break;
      }
      this.#drop(from, kept);
    }
    this.#timer = this.#kept.size > 0 ? this.#nextSweep() : undefined;
  }

  #nextSweep(): NodeJS.Timeout {
    const [oldest] = this.#kept.values();
    const timer = setTimeout(() => this.#sweep(), Math.ceil(oldest!.usedAt + KEPT_MS - performance.now()));
    // What was read for clients must not keep the process alive.
    timer.unref();
    return timer;
  }

  #drop(from: number, { bytes }: KeptBlock): void {
    this.#kept.delete(from);
    this.#keptBytes -= bytes;
  }

  #forget(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#kept.clear();
    this.#keptBytes = 0;
  }
}

/** Whether it ends at a sequence or before it, and the log does not. */
function isCutBefore({ last, head }: Block, sequence: number): boolean {
  return last <= sequence && last < head;
}

function pageOf({ epoch, events, first, head }: Block, sequence: number): EventPage {
  const index = events.length === 0 ? 0 : Math.max(0, sequence + 1 - events[0]!.record.sequence);
  const before = events[index - 1];
  return {
    epoch,
    // What was trimmed is missing at the start: then the one before is none, or another.
    anchor: before?.record.sequence === sequence ? before : undefined,
    events: index === 0 ? events : events.slice(index),
    block: events,
    first,
    head,
  };
}
