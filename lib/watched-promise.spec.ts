import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import { WatchedPromise } from './watched-promise.js';

const failing = () => {
  const reported: unknown[] = [];
  const promise = WatchedPromise.run(() => Promise.reject(new Error('early')));
  promise.onUnwatchedRejection((error) => reported.push(error));
  return { promise, reported };
};

describe('WatchedPromise', () => {
  it('reports a failure for which nobody waits, and raises no unhandled rejection', async () => {
    const unhandled: unknown[] = [];
    const listener = (error: unknown) => unhandled.push(error);
    process.on('unhandledRejection', listener);

    const { reported } = failing();
    await nextTurn();
    await nextTurn();

    process.off('unhandledRejection', listener);
    expect(reported).toEqual([new Error('early')]);
    expect(unhandled).toEqual([]);
  });

  it.each([
    ['awaits it', async (promise: Promise<unknown>) => await promise],
    ['returns it from an async function', async (promise: Promise<unknown>) => promise],
    ['chains to it', (promise: Promise<unknown>) => promise.then(() => undefined)],
    ['joins it with others', (promise: Promise<unknown>) => Promise.all([promise, Promise.resolve()])],
  ])('leaves a failure to the caller who %s', async (_how, use) => {
    const { promise, reported } = failing();
    await expect(use(promise)).rejects.toThrow('early');
    await nextTurn();
    expect(reported).toEqual([]);
  });

  it('resolves as the task does', async () => {
    await expect(WatchedPromise.run(() => Promise.resolve(5))).resolves.toBe(5);
  });

  it('turns a throw of the task into a rejection', async () => {
    const promise = WatchedPromise.run(() => {
      throw new Error('sync');
    });
    await expect(promise).rejects.toThrow('sync');
  });
});
