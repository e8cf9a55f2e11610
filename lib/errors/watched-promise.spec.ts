import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, it, jest } from '@jest/globals';
import { WatchedPromise } from './watched-promise.js';

const ignore = () => undefined;

const failing = () => {
  const reported: unknown[] = [];
  const promise = WatchedPromise.run(
    () => Promise.reject<string>(new Error('early')),
    (error) => reported.push(error),
  );
  return { promise, reported };
};

const turns = async () => {
  for (let turn = 0; turn < 5; turn += 1) {
    await nextTurn();
  }
};

describe('WatchedPromise', () => {
  it.each([
    ['waits for it', (promise: Promise<unknown>) => promise],
    ['handles a rejection of what follows it', (promise: Promise<unknown>) => promise.then(() => undefined)],
    ['handles a rejection after it', (promise: Promise<unknown>) => promise.finally(() => undefined)],
    [
      'handles a rejection further down',
      (promise: Promise<unknown>) => promise.then(() => 1).finally(() => 2),
    ],
  ])('reports a failure once where nobody %s, and raises no unhandled rejection', async (_what, use) => {
    // Jest fails a test by an unhandled rejection.
    const { promise, reported } = failing();

    void use(promise);
    await turns();

    expect(reported).toEqual([new Error('early')]);
  });

  it('leaves a failure of what follows it to Node, since it is the caller’s own', async () => {
    const reported: unknown[] = [];
    // Jest would fail the test by what Node is told.
    const reject = jest.spyOn(Promise, 'reject').mockReturnValue(Promise.resolve());

    const promise = WatchedPromise.run(
      () => Promise.resolve(5),
      (error) => reported.push(error),
    );
    void promise.then(() => {
      throw new Error('own');
    });
    await turns();

    expect(reject.mock.calls).toEqual([[new Error('own')]]);
    reject.mockRestore();
    expect(reported).toEqual([]);
  });

  it.each([
    ['awaits it', async (promise: Promise<unknown>) => await promise],
    ['returns it from an async function', async (promise: Promise<unknown>) => promise],
    ['chains to it', async (promise: Promise<unknown>) => await promise.then(() => undefined)],
    ['catches it', (promise: Promise<unknown>) => promise.catch((error: unknown) => Promise.reject(error))],
    [
      'catches what follows it',
      (promise: Promise<unknown>) =>
        promise.finally(() => 1).catch((error: unknown) => Promise.reject(error)),
    ],
    ['joins it with others', (promise: Promise<unknown>) => Promise.all([promise, Promise.resolve()])],
  ])('leaves a failure to the caller who %s', async (_how, use) => {
    const { promise, reported } = failing();
    await expect(use(promise)).rejects.toThrow('early');
    await nextTurn();
    expect(reported).toEqual([]);
  });

  it('resolves as the task does', async () => {
    await expect(WatchedPromise.run(() => Promise.resolve(5), ignore)).resolves.toBe(5);
  });

  it('turns a throw of the task into a rejection', async () => {
    const promise = WatchedPromise.run(() => {
      throw new Error('sync');
    }, ignore);
    await expect(promise).rejects.toThrow('sync');
  });
});
