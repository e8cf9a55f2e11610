import { describe, expect, it } from '@jest/globals';
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

  it('refuses the two in the wrong order', () => {
    expect(() => topicMatches('users.42.inbox', topic`users.${42}.>`)).toThrow(/has the wildcard ">"/);
  });
});
