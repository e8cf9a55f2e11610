import type { EventLog, LogPage, LogRecord } from './event-log.js';
import { LogEvent } from './log-event.js';

/** Events of a log after a sequence. */
export interface EventPage {
  /** The epoch of the events. It differs from the tail's if the log was replaced meanwhile. */
  readonly epoch: string;
  /** The event at the sequence itself. If a client has another nonce there, it has received another event. */
  readonly anchor: LogEvent | undefined;
  /** The next events, without a gap; at least one if the log has one. */
  readonly events: readonly LogEvent[];
  /** All events of the page's block: the same array for all clients that read the block. */
  readonly block: readonly LogEvent[];
  /** The lowest sequence that the log held when the block was read. For a kept block, that may be seconds ago. */
  readonly first: number;
  readonly head: number;
}

/** The log's answer to one request. */
interface Block {
  readonly epoch: string;
  readonly events: readonly LogEvent[];
  readonly first: number;
  readonly head: number;
  /** The sequence of its last event; the head if it has none. */
  readonly last: number;
}

interface KeptBlock {
  readonly block: Block;
  readonly bytes: number;
  usedAt: number;
}

/** The most events of a page. A block has one event more: the anchor of a client that goes on at its start. */
export const BLOCK_EVENTS = 500;
// Clients that come back together read the same blocks within a short time.
const KEPT_MS = 2_000;

/**
 * Reads the part of a log below the ring, in blocks with fixed starts. Clients that want a block at the same time share
 * one request. A block is kept for a short time, so that clients that come a little later need no request.
 */
export class LogPages {
  readonly #log: EventLog;
  readonly #maxBytes: number;
  readonly #findHeld: (record: LogRecord) => LogEvent | undefined;
  readonly #asked = new Map<number, Promise<Block>>();
  /** By the sequence that the block was read from, in the order of their last use. */
  readonly #kept = new Map<number, KeptBlock>();
  #keptBytes = 0;
  /** The epoch of the kept blocks. */
  #epoch = '';
  #timer: NodeJS.Timeout | undefined;
  #askedFirst: Promise<LogPage> | undefined;
  /** Increases when all blocks are dropped. A block that was requested in an earlier generation is not kept. */
  #generation = 0;
  #isStopped = false;

  /**
   * @param options.maxBytes - the most bytes of kept blocks, as {@link LogEvent.weight} counts
   * @param options.findHeld - finds the event of a record if this process has made one already
   */
  constructor(
    log: EventLog,
    options: { maxBytes: number; findHeld: (record: LogRecord) => LogEvent | undefined },
  ) {
    this.#log = log;
    this.#maxBytes = options.maxBytes;
    this.#findHeld = options.findHeld;
  }

  /** Reads a page after a sequence, with the event at that sequence as its anchor. */
  async after(sequence: number): Promise<EventPage> {
    const start = sequence - (sequence % BLOCK_EVENTS);
    const end = start + BLOCK_EVENTS;
    const block = await this.#read(start, end, sequence);
    // The log returns a few large records at a time. The next request begins where they end.
    return pageOf(isCutBefore(block, sequence) ? await this.#read(sequence, end, sequence) : block, sequence);
  }

  /** Reads the lowest sequence that the log holds. Kept blocks cannot tell: the log may have been trimmed since. */
  async first(): Promise<number> {
    this.#askedFirst ??= this.#log.page(1, 1).finally(() => (this.#askedFirst = undefined));
    return (await this.#askedFirst).first;
  }

  /** Drops all blocks, also those that are being read. */
  clear(): void {
    this.#generation += 1;
    this.#asked.clear();
    this.#forget();
  }

  stop(): void {
    this.#isStopped = true;
    this.clear();
  }

  /** Reads the block from one sequence to another, for a client that wants the events after a third between them. */
  async #read(from: number, to: number, after: number): Promise<Block> {
    const shared = this.#use(from) ?? this.#asked.get(from);
    if (shared) {
      const block = await shared;
      // A block that was requested earlier ends at the head of that time, and may lack the newest events.
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
    const generation = this.#generation;
    try {
      const lowest = Math.max(1, from);
      const { epoch, records, first, head } = await this.#log.page(lowest, to - lowest + 1);
      const events = records.map((record) => this.#findHeld(record) ?? new LogEvent(record, epoch));
      const block = { epoch, events, first, head, last: events.at(-1)?.record.sequence ?? head };
      if (generation === this.#generation && !this.#isStopped) {
        this.#keep(from, to, block);
      }
      return block;
    } finally {
      if (generation === this.#generation) {
        this.#asked.delete(from);
      }
    }
  }

  #keep(from: number, to: number, block: Block): void {
    if (block.epoch !== this.#epoch) {
      this.#forget();
      this.#epoch = block.epoch;
    }
    // A block that ends at the head is out of date with the next event.
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
    // Kept blocks must not keep the process alive.
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

/** Returns whether a block ends at a sequence or before it, although the log goes on. */
function isCutBefore({ last, head }: Block, sequence: number): boolean {
  return last <= sequence && last < head;
}

function pageOf({ epoch, events, first, head }: Block, sequence: number): EventPage {
  const index = events.length === 0 ? 0 : Math.max(0, sequence + 1 - events[0]!.record.sequence);
  const before = events[index - 1];
  return {
    epoch,
    // If the start was trimmed, the event before is missing, or is another one.
    anchor: before?.record.sequence === sequence ? before : undefined,
    events: index === 0 ? events : events.slice(index),
    block: events,
    first,
    head,
  };
}
