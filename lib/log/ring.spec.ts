import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { LogEvent } from './log-event.js';
import { Ring } from './ring.js';

const eventOf = (sequence: number, topic: string) =>
  new LogEvent({ sequence, topic, nonce: '0000abcd', time: 0, data: '', isJson: false }, 'e');

const topic = fc.constantFrom('a', 'b', 'c', 'a.b', '__proto__');
const step = fc.oneof(
  {
    weight: 20,
    arbitrary: fc.record({ push: fc.array(topic, { minLength: 1, maxLength: 50, size: 'max' }) }),
  },
  { weight: 1, arbitrary: fc.record({ clear: fc.nat(1_000) }) },
);

describe('Ring', () => {
  it('holds what an array of the newest would', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 90 }),
        fc.array(step, { maxLength: 12, size: 'max' }),
        fc.array(fc.tuple(topic, fc.nat(1_100), fc.oneof(fc.nat(10), fc.constant(Infinity))), {
          maxLength: 5,
        }),
        (capacity, steps, questions) => {
          const ring = new Ring(capacity, Infinity);
          let model: LogEvent[] = [];
          let last = 0;
          for (const todo of steps) {
            if ('clear' in todo) {
              last = todo.clear;
              model = [];
              ring.clear(last);
            } else {
              for (const name of todo.push) {
                last += 1;
                const event = eventOf(last, name);
                ring.push(event);
                model = [...model, event].slice(-capacity);
              }
            }
            const first = last - model.length + 1;
            expect([ring.first, ring.last]).toEqual([first, last]);
            for (let sequence = first - 2; sequence <= last + 2; sequence += 1) {
              expect(ring.at(sequence)).toBe(sequence < first ? undefined : model[sequence - first]);
            }
            const topics = new Set(model.map(({ record }) => record.topic));
            expect(new Set(ring.topics)).toEqual(topics);
            expect(ring.topicCount).toBe(topics.size);
            for (const [name, after, limit] of questions) {
              const expected = model.filter(({ record }) => record.topic === name && record.sequence > after);
              expect(ring.eventsOf(name, after, limit)).toEqual(expected.slice(0, limit));
            }
          }
        },
      ),
    );
  });

  it('drops the oldest for the bytes of the newest, which it holds whatever it takes', () => {
    const weight = eventOf(1, 'a').weight;
    const ring = new Ring(100, 3 * weight);
    for (let sequence = 1; sequence <= 5; sequence += 1) {
      ring.push(eventOf(sequence, 'a'));
    }
    expect([ring.first, ring.last]).toEqual([3, 5]);
    expect(ring.eventsOf('a', 0, 10).map(({ record }) => record.sequence)).toEqual([3, 4, 5]);
    ring.push(eventOf(6, 'b'.repeat(10_000)));
    expect([ring.first, ring.last, ring.at(5), ring.topicCount]).toEqual([6, 6, undefined, 1]);
    ring.push(eventOf(7, 'a'));
    expect([ring.first, ring.last]).toEqual([7, 7]);
    ring.push(eventOf(8, 'a'));
    expect([ring.first, ring.last]).toEqual([7, 8]);
  });

  it('refuses an event that does not follow the last, and stays as it was', () => {
    const ring = new Ring(3, Infinity);
    ring.push(eventOf(1, 'a'));
    for (const sequence of [0, 1, 3]) {
      expect(() => ring.push(eventOf(sequence, 'a'))).toThrow(`stands at 1, and ${sequence} does not follow`);
    }
    expect([ring.first, ring.last, ring.topicCount]).toEqual([1, 1, 1]);
    ring.clear(9);
    expect(() => ring.push(eventOf(2, 'a'))).toThrow('stands at 9');
    ring.push(eventOf(10, 'a'));
    expect(ring.at(10)?.record.topic).toBe('a');
  });
});
