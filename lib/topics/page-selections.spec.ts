import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { LogEvent } from '../log/index.js';
import type { Follower } from './follower.js';
import { PageSelections } from './page-selections.js';
import { matches } from './pattern-trie.js';
import { Subscription } from './subscription.js';

const subscriptionOf = (patterns: string[]) => new Subscription({} as Follower, patterns, {});

function blockOf(topics: readonly string[]): LogEvent[] {
  return topics.map((topic, index) => {
    const record = { sequence: index + 1, topic, nonce: '0000abcd', time: 0, data: '', isJson: false };
    return new LogEvent(record, 'e');
  });
}

const pageOf = (block: readonly LogEvent[], from = 0) => ({
  epoch: 'e',
  anchor: block[from - 1],
  events: block.slice(from),
  block,
  first: 1,
  head: block.length,
});

const sequencesOf = (events: readonly LogEvent[]) => events.map(({ record }) => record.sequence);

describe('PageSelections', () => {
  it('selects what some pattern covers, in order, from the start of the page on', () => {
    const topic = fc.constantFrom('a', 'b', 'a.b', 'a.b.c', 'b.c');
    const pattern = fc.constantFrom('a', 'b', 'a.b', '*', 'a.*', 'a.>', '>', 'z');
    const lists = fc.array(fc.array(pattern, { minLength: 1, maxLength: 3 }), { minLength: 1, maxLength: 3 });
    fc.assert(
      fc.property(
        fc.array(topic, { minLength: 1, maxLength: 30 }),
        fc.array(fc.tuple(lists, fc.nat(29)), { minLength: 1, maxLength: 60 }),
        (topics, asked) => {
          const selections = new PageSelections();
          const block = blockOf(topics);
          for (const [list, from] of asked) {
            const page = pageOf(block, from);
            const expected = page.events.filter(({ topicTokens }) =>
              list.flat().some((name) => matches(name.split('.'), topicTokens)),
            );
            const selected = selections.select(page, list.map(subscriptionOf));
            expect(sequencesOf(selected)).toEqual(sequencesOf(expected));
          }
        },
      ),
    );
  });

  it('looks at the events of a block once, however many clients ask', () => {
    let looked = 0;
    const block = blockOf(['a.1', 'a.2', 'b.1']).map((event) =>
      Object.defineProperty(event, 'topicTokens', {
        get: () => {
          looked += 1;
          return event.record.topic.split('.');
        },
      }),
    );
    const selections = new PageSelections();
    const ask = (pattern: string) =>
      sequencesOf(selections.select(pageOf(block), [subscriptionOf([pattern])]));
    for (let client = 0; client < 1_000; client += 1) {
      expect(ask('a.*')).toEqual([1, 2]);
      expect(ask('b.1')).toEqual([3]);
    }
    expect(looked).toBe(3);
  });
});
