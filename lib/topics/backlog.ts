import type { LogEvent } from '../log/index.js';
import { Chunk } from '../wire/index.js';
import type { Subscription } from './subscription.js';

/** Of several events with the same key of a subscription a client that lags gets the last. */
export interface LatestKey {
  readonly subscription: Subscription;
  readonly key: string;
}

/** Frames for one write, and the event of the last of them. */
interface Batch {
  readonly frames: Chunk;
  readonly last: LogEvent;
}

interface Entry {
  readonly event: LogEvent;
  /** Makes the frame when the socket takes it: the frames of a page could be hundreds of megabytes. */
  readonly subscription: Subscription;
  readonly keys: readonly LatestKey[];
  /** Of how many of its keys it is the last event. An entry that had keys and is the last of none is dropped. */
  lastOf: number;
}

// Dropped entries are cleared away when there are more of them than of the others, and more than this.
const MOST_DROPPED = 256;

/** Events that were read from the log for one client that is behind, and are not written yet. */
export class Backlog {
  #entries: Entry[] = [];
  #start = 0;
  #dropped = 0;
  readonly #last = new Map<Subscription, Map<string, Entry>>();

  /** How many events are to be written. */
  get length(): number {
    return this.#entries.length - this.#start - this.#dropped;
  }

  /**
   * Adds an event. Each earlier event that is no longer the last of any of its keys is dropped.
   *
   * @param keys empty for an event that the client gets in any case
   */
  push(event: LogEvent, subscription: Subscription, keys: readonly LatestKey[]): void {
    const entry: Entry = { event, subscription, keys, lastOf: keys.length };
    keys.forEach((key) => this.#supersede(key, entry));
    this.#entries.push(entry);
    if (this.#dropped > MOST_DROPPED && this.#dropped > this.length) {
      this.#entries = this.#entries.slice(this.#start).filter((other) => !isDropped(other));
      this.#start = 0;
      this.#dropped = 0;
    }
  }

  /** Takes events off the front, `maxEvents` at most, until their frames have `maxBytes`; undefined if there are none. */
  take(maxEvents: number, maxBytes: number): Batch | undefined {
    const frames: Chunk[] = [];
    let bytes = 0;
    let last: LogEvent | undefined;
    while (this.#start < this.#entries.length && frames.length < maxEvents && bytes < maxBytes) {
      const entry = this.#entries[this.#start]!;
      this.#start += 1;
      if (isDropped(entry)) {
        this.#dropped -= 1;
        continue;
      }
      this.#forgetKeys(entry);
      const frame = entry.subscription.chunkOf(entry.event);
      frames.push(frame);
      bytes += frame.frame.length;
      last = entry.event;
    }
    if (this.#start === this.#entries.length || this.#start >= MOST_DROPPED) {
      this.#entries = this.#entries.slice(this.#start);
      this.#start = 0;
    }
    return last && { frames: Chunk.join(frames), last };
  }

  #supersede({ subscription, key }: LatestKey, entry: Entry): void {
    let entries = this.#last.get(subscription);
    if (!entries) {
      entries = new Map();
      this.#last.set(subscription, entries);
    }
    const earlier = entries.get(key);
    entries.set(key, entry);
    if (earlier) {
      earlier.lastOf -= 1;
      this.#dropped += isDropped(earlier) ? 1 : 0;
    }
  }

  #forgetKeys(entry: Entry): void {
    for (const { subscription, key } of entry.keys) {
      const entries = this.#last.get(subscription)!;
      if (entries.get(key) === entry) {
        entries.delete(key);
      }
    }
  }
}

function isDropped({ keys, lastOf }: Entry): boolean {
  return lastOf === 0 && keys.length > 0;
}
