import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { matcherOf, matches, PatternTrie } from './pattern-trie.js';

/** What a pattern matches, said once more without the code that it is compared with. */
function expressionOf(pattern: string): RegExp {
  const source = pattern
    .replace(/[\\^$+?.()|[\]{}]/g, '\\$&')
    .replace(/(?<=^|\\\.)\*(?=$|\\\.)/g, '[^.]+')
    .replace(/(?<=^|\\\.)>$/, '.+');
  return new RegExp(`^${source}$`);
}

// Few, so that patterns and topics meet; some that are more than a name to a Map, an object or an expression.
const token = fc.constantFrom('a', 'b', 'ab', 'a-b', '$', '^a+', '__proto__', 'constructor');
const topicName = fc.array(token, { minLength: 1, maxLength: 4 }).map((tokens) => tokens.join('.'));
const patternName = fc
  .tuple(
    fc.array(fc.oneof(token, token, fc.constant('*')), { maxLength: 4 }),
    fc.constantFrom('', '', '>', '*'),
  )
  .map(([tokens, last]) => [...tokens, ...(last ? [last] : [])].join('.'))
  .filter((name) => name !== '');
const tokensOf = (name: string) => name.split('.');

describe('matches', () => {
  it('agrees with a regular expression', () => {
    fc.assert(
      fc.property(patternName, topicName, (pattern, topic) => {
        expect(matches(tokensOf(pattern), tokensOf(topic))).toBe(expressionOf(pattern).test(topic));
      }),
      { numRuns: 2_000 },
    );
  });

  it.each([
    ['a', 'a', true],
    ['a', 'a.b', false],
    ['a.b', 'a', false],
    ['*', 'a', true],
    ['*', 'a.b', false],
    ['a.*', 'a', false],
    ['a.*.c', 'a.b.c', true],
    ['*.b', 'a.b', true],
    ['>', 'a', true],
    ['>', 'a.b.c', true],
    ['a.>', 'a', false],
    ['a.>', 'a.b', true],
    ['a.>', 'a.b.c', true],
    ['a.>', 'b.a.c', false],
    ['*.>', 'a.b', true],
  ])('of %s and %s is %s', (pattern, topic, expected) => {
    expect(matches(tokensOf(pattern), tokensOf(topic))).toBe(expected);
    expect(expressionOf(pattern).test(topic)).toBe(expected);
  });
});

describe('PatternTrie', () => {
  const sorted = (values: number[]) => values.sort((a, b) => a - b);
  const found = (trie: PatternTrie<number>, topic: string) =>
    sorted(trie.match(tokensOf(topic)).flatMap((values) => [...values]));

  it('finds what a list would, while patterns come and go', () => {
    const step = fc.record({
      pattern: patternName,
      value: fc.integer({ min: 0, max: 3 }),
      // Of those that are there, or whatever comes.
      remove: fc.option(fc.nat(), { freq: 2 }),
      isThere: fc.boolean(),
    });
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 60, size: 'max' }),
        fc.array(topicName, { minLength: 1, maxLength: 5 }),
        (steps, topics) => {
          const trie = new PatternTrie<number>();
          let list: { pattern: string; value: number }[] = [];
          for (const { pattern, value, remove, isThere } of steps) {
            if (remove === null) {
              trie.add(tokensOf(pattern), value);
              list = without(list, { pattern, value }).concat({ pattern, value });
            } else {
              const gone = (isThere && list[remove % Math.max(1, list.length)]) || { pattern, value };
              trie.remove(tokensOf(gone.pattern), gone.value);
              list = without(list, gone);
            }
            for (const topic of topics) {
              const expected = list.filter((entry) => expressionOf(entry.pattern).test(topic));
              expect(found(trie, topic)).toEqual(sorted(expected.map((entry) => entry.value)));
            }
            expect(trie.isEmpty).toBe(list.length === 0);
          }
        },
      ),
    );
  });

  it('is empty again when all has been removed, in any order', () => {
    const entries = fc.uniqueArray(fc.tuple(patternName, fc.nat(2)), {
      selector: ([pattern, value]) => `${pattern} ${value}`,
      maxLength: 40,
      size: 'max',
    });
    fc.assert(
      fc.property(
        entries.chain((all) =>
          fc.tuple(fc.constant(all), fc.shuffledSubarray(all, { minLength: all.length })),
        ),
        ([added, removed]) => {
          const trie = new PatternTrie<number>();
          added.forEach(([pattern, value]) => trie.add(tokensOf(pattern), value));
          expect(trie.isEmpty).toBe(added.length === 0);
          removed.forEach(([pattern, value]) => trie.remove(tokensOf(pattern), value));
          expect(trie.isEmpty).toBe(true);
        },
      ),
    );
  });

  it('looks at the branches of the topic alone', () => {
    const trie = new PatternTrie<number>();
    for (let n = 0; n < 100_000; n += 1) {
      trie.add(['orders', String(n), 'status'], n);
    }
    trie.add(['orders', '*', 'status'], -1);
    trie.add(['orders', '>'], -2);
    expect(trie.match(['orders', '7', 'status']).map((values) => [...values])).toEqual([[-2], [7], [-1]]);
  });
});

describe('matcherOf', () => {
  it('covers a topic when one of the patterns matches', () => {
    const covers = matcherOf(['a.*', 'b', 'c.>']);
    const topics = ['a.x', 'b', 'a', 'b.x', 'c', 'c.x.y', 'a.x.y'];
    expect(topics.filter((topic) => covers(topic, tokensOf(topic)))).toEqual(['a.x', 'b', 'c.x.y']);
  });
});

function without<T extends { pattern: string; value: number }>(
  list: T[],
  gone: { pattern: string; value: number },
): T[] {
  return list.filter(({ pattern, value }) => pattern !== gone.pattern || value !== gone.value);
}
