import type { LogEvent } from '../log/index.js';
import type { Chunk } from '../wire/index.js';
import { matcherOf } from './pattern-trie.js';
import type { RingRead } from './ring-reader.js';
import type { Authorize, Subscription } from './subscription.js';

/** A key of `latest`. A lagging client gets the last event of each key of a subscription. */
export interface LatestKey {
  readonly subscription: Subscription;
  readonly key: string;
}

/** How far {@link Backlog.fill} has come. */
interface Filled {
  /** All events up to this sequence are in the backlog, or the client does not get them. */
  readonly cursor: number;
  /** The events that are left for the next step. */
  readonly rest: RingRead | undefined;
}

/** A subscription that covers an event. */
interface Covering {
  readonly subscription: Subscription;
}

/** Frames for one write, and the event of the last frame. */
interface Batch {
  readonly frames: readonly Chunk[];
  readonly last: LogEvent;
}

interface Entry {
  readonly event: LogEvent;
  /** Makes the frame when it is written: the frames of a whole page could take hundreds of megabytes. */
  readonly subscription: Subscription;
  readonly keys: readonly LatestKey[];
  /** For how many of its keys it is the last event. An entry with keys that is the last for none is dropped. */
  lastOf: number;
}

// Dropped entries are removed when there are more than this, and more than other entries.
const MOST_DROPPED = 256;
// Characters of data that are checked in one step. The app's checks may parse all of it, which takes milliseconds.
const STEP_CHARACTERS = 262_144;
const NO_KEYS: readonly LatestKey[] = [];

/** The events that were read for one client that is behind, and are not written yet. */
export class Backlog {
  #entries: Entry[] = [];
  #start = 0;
  #dropped = 0;
  readonly #last = new Map<Subscription, Map<string, Entry>>();

  /** The number of events to write. */
  get length(): number {
    return this.#entries.length - this.#start - this.#dropped;
  }

  /** Adds the events that the client may have, as many as are checked in one step. */
  fill(
    { events, upTo }: RingRead,
    subscriptions: readonly Subscription[],
    authorize: Authorize | undefined,
  ): Filled {
    const candidates = subscriptions.map((subscription) => ({
      subscription,
      covers: matcherOf(subscription.patterns),
    }));
    let checked = 0;
    let index = 0;
    for (; index < events.length && checked < STEP_CHARACTERS; index += 1) {
      const event = events[index]!;
      const { topic, data, sequence } = event.record;
      if (sequence > upTo) {
        break;
      }
      checked += data.length;
      // Events that were read for one subscription alone are covered by it.
      const covering =
        candidates.length === 1
          ? candidates
          : candidates.filter(({ covers }) => covers(topic, event.topicTokens));
      this.#add(event, covering, authorize);
    }
    const next = events[index]?.record.sequence;
    return next !== undefined && next <= upTo
      ? { cursor: next - 1, rest: { events: events.slice(index), upTo } }
      : { cursor: upTo, rest: undefined };
  }

  #add(event: LogEvent, covering: readonly Covering[], authorize: Authorize | undefined): void {
    const index = covering.findIndex(({ subscription }) => subscription.admits(event, authorize));
    if (index === -1) {
      return;
    }
    const { subscription } = covering[index]!;
    if (!subscription.wantsLatest) {
      this.push(event, subscription, NO_KEYS);
      return;
    }
    const others = covering.slice(index + 1).filter((other) => other.subscription.admits(event, authorize));
    this.push(event, subscription, keysOf(event, [covering[index]!, ...others]));
  }

  /**
   * Adds an event. Each earlier event that is no longer the last of any of its keys is dropped.
   *
   * @param keys - empty for an event that the client gets in any case
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

  /** Takes at most `maxEvents` from the front, until their frames have `maxBytes`; undefined if there are none. */
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
    return last && { frames, last };
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

/** Returns the keys by which a later event replaces an event; none if a subscription gives it no key. */
function keysOf(event: LogEvent, covering: readonly Covering[]): readonly LatestKey[] {
  const keys: LatestKey[] = [];
  for (const { subscription } of covering) {
    const key = subscription.keyOf(event);
    if (key === undefined) {
      return NO_KEYS;
    }
    keys.push({ subscription, key });
  }
  return keys;
}
