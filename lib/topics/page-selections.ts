import type { EventPage, LogEvent } from '../log/index.js';
import { isWide, matcherOf } from './pattern-trie.js';
import type { Subscription } from './subscription.js';

// For each block. Single topics are found by an index and do not count.
const MOST_SELECTIONS = 32;

/**
 * The events of a block that patterns match. They are selected once for all clients with the same patterns: thousands
 * may read a block below the ring after a restart.
 */
export class PageSelections {
  readonly #byBlock = new WeakMap<readonly LogEvent[], BlockSelections>();

  /** Selects the events of a page that one of the subscriptions covers, in order. */
  select({ block, events }: EventPage, subscriptions: readonly Subscription[]): readonly LogEvent[] {
    const [first] = events;
    if (!first) {
      return events;
    }
    let selections = this.#byBlock.get(block);
    if (!selections) {
      selections = new BlockSelections(block);
      this.#byBlock.set(block, selections);
    }
    const selected = selections.select(subscriptions.flatMap(({ patterns }) => patterns));
    // A page may begin in the middle of its block.
    return events.length === block.length
      ? selected
      : selected.filter(({ record }) => record.sequence >= first.record.sequence);
  }
}

const NONE: readonly LogEvent[] = [];

class BlockSelections {
  readonly #block: readonly LogEvent[];
  readonly #byTopic = new Map<string, LogEvent[]>();
  readonly #byPatterns = new Map<string, readonly LogEvent[]>();

  constructor(block: readonly LogEvent[]) {
    this.#block = block;
    for (const event of block) {
      const { topic } = event.record;
      const sameTopic = this.#byTopic.get(topic);
      if (sameTopic) {
        sameTopic.push(event);
      } else {
        this.#byTopic.set(topic, [event]);
      }
    }
  }

  select(patterns: readonly string[]): readonly LogEvent[] {
    const [only] = patterns;
    if (patterns.length === 1 && !isWide(only!)) {
      return this.#byTopic.get(only!) ?? NONE;
    }
    const key = patterns.join(' ');
    const known = this.#byPatterns.get(key);
    if (known) {
      return known;
    }
    const covers = matcherOf(patterns);
    const selected = this.#block.filter(({ record, topicTokens }) => covers(record.topic, topicTokens));
    if (this.#byPatterns.size < MOST_SELECTIONS) {
      this.#byPatterns.set(key, selected);
    }
    return selected;
  }
}
