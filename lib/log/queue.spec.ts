import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { waitFor } from 'nestjs-event-stream/testing';
import { Queue } from './queue.js';

describe('Queue', () => {
  it('does what an array does', () => {
    const step = fc.oneof(
      fc.record({ push: fc.integer({ min: 1, max: 120 }) }),
      fc.record({ shift: fc.integer({ min: 1, max: 120 }) }),
    );
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 20, size: 'max' }),
        fc.integer({ min: -2, max: 150 }),
        fc.nat(150),
        (steps, from, limit) => {
          const queue = new Queue<number>();
          const array: number[] = [];
          let next = 0;
          for (const todo of steps) {
            if ('push' in todo) {
              for (let n = 0; n < todo.push; n += 1) {
                queue.push(next);
                array.push(next);
                next += 1;
              }
            } else {
              for (let n = 0; n < todo.shift; n += 1) {
                expect(queue.shift()).toBe(array.shift());
              }
            }
            const start = Math.max(0, from);
            expect(queue.length).toBe(array.length);
            expect(queue.at(from)).toBe(from < 0 ? undefined : array[from]);
            expect(queue.slice(from, limit)).toEqual(array.slice(start, start + limit));
            expect(queue.slice(from, Infinity)).toEqual(array.slice(start));
          }
        },
      ),
    );
  });

  it('lets go at once of what was taken off', async () => {
    setFlagsFromString('--expose-gc');
    const collectGarbage = runInNewContext('gc') as () => void;
    const queue = new Queue<object>();
    const references: WeakRef<object>[] = [];
    for (let n = 0; n < 20; n += 1) {
      const item = { n };
      queue.push(item);
      references.push(new WeakRef(item));
    }
    for (let n = 0; n < 10; n += 1) {
      queue.shift();
    }
    const held = () => {
      collectGarbage();
      return references.filter((reference) => reference.deref()).length;
    };
    // One may still lie on the stack.
    await waitFor(() => held() <= 11, { describe: () => `10 items to be held, not ${held()}` });
    expect(queue.length).toBe(10);
  });
});
