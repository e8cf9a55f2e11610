import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { LogEvent, Ring } from '../log/index.js';
import type { Follower } from './follower.js';
import { readRing } from './ring-reader.js';
import { Subscription } from './subscription.js';

const subscriptionOf = (...patterns: string[]) => new Subscription({} as Follower, patterns, {});

/** A topic is matched by a pattern, said once more without the code that is tested. */
function isMatched(pattern: string, topic: string): boolean {
  const source = pattern.replaceAll('.', '\\.').replaceAll('*', '[^.]+').replace('>', '.+');
  return new RegExp(`^${source}$`).test(topic);
}

class Log {
  readonly ring: Ring;
  readonly all: LogEvent[] = [];

  constructor(capacity: number) {
    this.ring = new Ring(capacity, Infinity);
  }

  push(topics: readonly string[]): void {
    for (const topic of topics) {
      const record = {
        sequence: this.all.length + 1,
        topic,
        nonce: '0000abcd',
        time: 0,
        data: '',
        isJson: false,
      };
      const event = new LogEvent(record, 'e');
      this.all.push(event);
      this.ring.push(event);
    }
  }
}

const sequencesOf = (events: readonly LogEvent[]) => events.map(({ record }) => record.sequence);

/** Reads until nothing is left, as a follower does; `more` comes while it reads. */
function readAll(
  log: Log,
  subscriptions: readonly Subscription[],
  start: number,
  limit: number,
  more: string[][] = [],
): number[] {
  const read: number[] = [];
  for (let after = start; after < log.ring.last;) {
    const { events, upTo } = readRing(log.ring, subscriptions, after, limit);
    const sequences = sequencesOf(events);
    expect(sequences.length).toBeLessThanOrEqual(limit);
    expect(upTo).toBeGreaterThan(after);
    expect(upTo).toBeLessThanOrEqual(log.ring.last);
    // What is beyond is yet to be read, and would come twice.
    expect(sequences.every((sequence) => sequence > after && sequence <= upTo)).toBe(true);
    read.push(...sequences);
    after = upTo;
    const topics = more.shift() ?? [];
    // A follower that falls out of the ring reads the log instead.
    log.push(topics.slice(0, Math.max(0, after + 1 - log.ring.first)));
  }
  return read;
}

const few = fc.constantFrom('a', 'b', 'a.b');
const many = fc.tuple(fc.constantFrom('a', 'b', 'c'), fc.nat(60)).map(([first, n]) => `${first}.${n}`);
const pattern = fc.constantFrom(
  'a',
  'b',
  'a.b',
  'a.1',
  'b.2',
  'c.3',
  'a.*',
  '*.1',
  'b.>',
  '*',
  '>',
  'z',
  'z.>',
);
const patterns = fc.array(fc.array(pattern, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 3 });

describe('readRing', () => {
  it.each([
    ['of few topics', few, 0],
    ['of many topics', many, 0],
    ['of few and many, while more comes', fc.oneof(few, many), 20],
  ])('reads all that is covered, once and in order, %s', (_what, topic, moreLength) => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 150 }),
        fc.array(topic, { maxLength: 200, size: 'max' }),
        patterns,
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.oneof(fc.integer({ min: 1, max: 40 }), fc.constant(Infinity)),
        fc.array(fc.array(topic, { maxLength: 10 }), { maxLength: moreLength, size: 'max' }),
        (capacity, topics, names, place, limit, more) => {
          const log = new Log(capacity);
          log.push(topics);
          const { first, last } = log.ring;
          const start = first - 1 + Math.floor((last - first + 1) * place);
          const subscriptions = names.map((list) => subscriptionOf(...list));
          const read = readAll(log, subscriptions, start, limit, more);
          const expected = log.all.filter(
            ({ record }) =>
              record.sequence > start && names.flat().some((name) => isMatched(name, record.topic)),
          );
          expect(read).toEqual(sequencesOf(expected));
        },
      ),
      { numRuns: 300 },
    );
  });

  it.each([
    ['topics by name', ['rare.1']],
    ['a pattern', ['rare.*']],
  ])('finds a few events of %s without a look at the rest', (_what, names) => {
    const log = new Log(50_000);
    log.push(Array.from({ length: 50_000 }, (_, n) => (n % 10_000 === 0 ? 'rare.1' : `loud.${n % 7}`)));
    const looked: number[] = [];
    if (names[0] === 'rare.1') {
      // Of topics that are named, the others' names are none of the matter.
      Object.defineProperty(log.ring, 'topics', {
        get: () => looked.push(0),
      });
    }
    const { at } = log.ring;
    log.ring.at = (sequence) => {
      looked.push(sequence);
      return at.call(log.ring, sequence);
    };
    expect(sequencesOf(readRing(log.ring, [subscriptionOf(...names)], 0, 256).events)).toEqual([
      1, 10_001, 20_001, 30_001, 40_001,
    ]);
    expect(looked).toEqual([]);
  });

  it('looks at the few new events where there are more topics than those', () => {
    const log = new Log(1_000);
    log.push(Array.from({ length: 1_000 }, (_, n) => `topic.${n}`));
    let asked = 0;
    const { eventsOf } = log.ring;
    log.ring.eventsOf = (...args) => {
      asked += 1;
      return eventsOf.apply(log.ring, args);
    };
    expect(sequencesOf(readRing(log.ring, [subscriptionOf('topic.*')], 990, 256).events)).toHaveLength(10);
    expect(asked).toBe(0);
  });
});
