import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { LogEvent } from '../log/index.js';
import type { Chunk } from '../wire/index.js';
import { Backlog } from './backlog.js';
import type { Follower } from './follower.js';
import { Subscription } from './subscription.js';

const one = new Subscription({} as Follower, 'a', {});
const two = new Subscription({} as Follower, 'b', {});

function eventOf(sequence: number, data = 'x'): LogEvent {
  const record = { sequence, topic: 'a', nonce: '0000abcd', time: 0, data, isJson: false };
  return new LogEvent(record, 'e');
}

interface Pushed {
  sequence: number;
  keys: { subscription: Subscription; key: string }[];
}

/** What is left of events by the words of `latest`: all without a key, and each that is the last with one of its keys. */
function lastOf(pushed: readonly Pushed[]): number[] {
  const later = new Map([one, two].map((subscription) => [subscription, new Set<string>()]));
  const left: number[] = [];
  for (const { sequence, keys } of pushed.toReversed()) {
    const isLastOf = keys.filter(({ subscription, key }) => !later.get(subscription)!.has(key));
    if (keys.length === 0 || isLastOf.length > 0) {
      left.unshift(sequence);
    }
    isLastOf.forEach(({ subscription, key }) => later.get(subscription)!.add(key));
  }
  return left;
}

/** The sequences in the frames of a batch. */
function sequencesIn(frames: readonly Chunk[]): number[] {
  const text = frames.map(({ frame }) => frame.toString()).join('');
  return Array.from(text.matchAll(/^id: e-(\d+)-/gm), ([, sequence]) => Number(sequence));
}

const key = fc.constantFrom('k', 'l', 'm');
const keys = fc
  .tuple(fc.option(key), fc.option(key))
  .map(([first, second]) => [
    ...(first === null ? [] : [{ subscription: one, key: first }]),
    ...(second === null ? [] : [{ subscription: two, key: second }]),
  ]);
const step = fc.oneof(fc.record({ push: keys }), fc.record({ take: fc.integer({ min: 1, max: 5 }) }));

describe('Backlog', () => {
  it('gives out the last event of each key, and all without a key, in order', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 1_000, size: 'max' }), (steps) => {
        const backlog = new Backlog();
        let waiting: Pushed[] = [];
        let sequence = 0;
        for (const next of steps) {
          if ('push' in next) {
            sequence += 1;
            backlog.push(eventOf(sequence), one, next.push);
            waiting.push({ sequence, keys: next.push });
          } else {
            const expected = lastOf(waiting).slice(0, next.take);
            const batch = backlog.take(next.take, Infinity);
            expect(batch ? sequencesIn(batch.frames) : []).toEqual(expected);
            expect(batch?.last.record.sequence).toBe(expected.at(-1));
            // What comes before the last that was given out is given out, or was dropped.
            waiting = waiting.filter((entry) => entry.sequence > (expected.at(-1) ?? 0));
          }
          expect(backlog.length).toBe(lastOf(waiting).length);
        }
      }),
      { numRuns: 30 },
    );
  });

  it('ends a batch with the frame that reaches the bytes', () => {
    const backlog = new Backlog();
    [1, 2, 3].forEach((sequence) => backlog.push(eventOf(sequence, 'y'.repeat(100)), one, []));
    expect(sequencesIn(backlog.take(10, 150)!.frames)).toEqual([1, 2]);
    expect(sequencesIn(backlog.take(10, 150)!.frames)).toEqual([3]);
    expect(backlog.take(10, 150)).toBeUndefined();
  });
});
