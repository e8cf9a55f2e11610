import type { EventPage, LogEvent } from '../log/index.js';
import { isWide, matcherOf } from './pattern-trie.js';
import type { Subscription } from './subscription.js';

// Of each block, beside those of single topics, which an index finds.
const MOST_SELECTIONS = 32;

/**
 * What patterns cover of the blocks of a log that clients read below the ring. It is worked out once for all clients
 * that follow the same patterns: thousands may read a block after a restart.
 */
export class PageSelections {
  readonly #byBlock = new WeakMap<readonly LogEvent[], BlockSelections>();

  /** The events of a page that some subscription covers, in order. */
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
