import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { matches } from '../topics/pattern-trie.js';
import { topicMatches } from './topic-matches.js';
import { topic } from './topic-name.js';
import { defineTopic } from './typed-topic.js';

// What one user may call itself to be taken for another.
const IDS = [
  '42',
  '42.inbox',
  '42.',
  '*',
  '>',
  '42.>',
  '',
  '%',
  '42%2Einbox',
  '4 2',
  '４２',
  '42\u0000',
  'users',
  '-',
];

describe('topicMatches()', () => {
  it('gives each user its own topics alone, whatever their ids are', () => {
    for (const [mine, me] of IDS.entries()) {
      for (const [theirs, other] of IDS.entries()) {
        const covered = topicMatches(topic`users.${me}.>`, topic`users.${other}.inbox`);
        expect([me, other, covered]).toEqual([me, other, mine === theirs]);
      }
    }
  });

  it('takes a defined topic, and wildcards', () => {
    const orders = defineTopic<{ changed: object }>('orders.*');
    expect(topicMatches(orders, 'orders.1')).toBe(true);
    expect(topicMatches(orders.of('1'), 'orders.1')).toBe(true);
    expect(topicMatches(orders, 'orders.1.status')).toBe(false);
    expect(topicMatches('orders.>', 'orders.1.status')).toBe(true);
    expect(topicMatches('orders.>', 'orders')).toBe(false);
  });

  it('says the same as what delivers events', () => {
    const token = fc.constantFrom('a', 'b', '*', '>', 'ab', 'a%2Eb');
    const names = fc.array(token, { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(names, names, (pattern, name) => {
        fc.pre(!name.includes('*') && !name.includes('>'));
        fc.pre(!pattern.slice(0, -1).includes('>'));
        expect(topicMatches(pattern.join('.'), name.join('.'))).toBe(matches(pattern, name));
      }),
      { numRuns: 2_000 },
    );
  });

  it.each([
    ['a.>.b', 'a.c.b'],
    ['>.b', 'a.b'],
  ])('refuses a pattern that would allow more than it says: %s', (pattern, name) => {
    expect(() => topicMatches(pattern, name)).toThrow(/">" before its end/);
  });

  it.each([
    [undefined, 'a'],
    ['a', undefined],
    [{}, 'a'],
    [null, null],
  ])('refuses what is no text: %p and %p', (pattern, name) => {
    expect(() => topicMatches(pattern as never, name as never)).toThrow(/is a string of tokens/);
  });

  it('covers nothing by an id that was left out', () => {
    expect(topicMatches('users..>', 'users.a.inbox')).toBe(false);
    expect(topicMatches('', 'a')).toBe(false);
  });

  it('refuses the two in the wrong order', () => {
    expect(() => topicMatches('users.42.inbox', topic`users.${42}.>`)).toThrow(/has the wildcard ">"/);
  });
});
