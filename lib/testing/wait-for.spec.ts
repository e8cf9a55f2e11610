import { describe, expect, it } from '@jest/globals';
import { SseTestError, waitFor } from './index.js';

describe('waitFor', () => {
  it('asks at once, and resolves to what the condition returns', async () => {
    let asked = 0;
    const value = { found: true };

    const wait = waitFor(() => {
      asked += 1;
      return value;
    });

    expect(asked).toBe(1);
    expect(await wait).toBe(value);
  });

  it('asks again until it is true, turn by turn and then from time to time', async () => {
    let asked = 0;

    expect(await waitFor(() => (asked += 1) === 50 && 'fifty')).toBe('fifty');
    expect(asked).toBe(50);
  });

  it('takes a promise, and asks no second time while it is pending', async () => {
    let pending = 0;
    let most = 0;
    let asked = 0;

    await waitFor(async () => {
      pending += 1;
      most = Math.max(most, pending);
      await new Promise((resolve) => setImmediate(resolve));
      pending -= 1;
      return (asked += 1) === 5;
    });

    expect(most).toBe(1);
  });

  it('does not wait longer than the deadline for a promise that stays pending', async () => {
    await expect(waitFor(() => new Promise<boolean>(() => {}), { timeoutMs: 20 })).rejects.toMatchObject({
      code: 'timeout',
    });
  });

  it.each([
    ['a text', 'no connection left', 'no connection left'],
    ['a function, asked at the deadline', () => '2 connections to go', '2 connections to go'],
    ['the condition’s source', undefined, 'the condition '],
  ])('names the condition by %s', async (_what, describe, named) => {
    const error = await waitFor(() => false, { timeoutMs: 10, describe }).catch((reason: unknown) => reason);

    expect(error).toBeInstanceOf(SseTestError);
    expect((error as SseTestError).message).toContain(`Waited 10 ms for ${named}`);
  });

  it('passes on what the condition or the description throws, also asynchronously', async () => {
    const thrown = new RangeError('mine');
    const throwing = (): never => {
      throw thrown;
    };

    await expect(waitFor(throwing)).rejects.toBe(thrown);
    await expect(waitFor(() => Promise.reject(thrown))).rejects.toBe(thrown);
    let asked = 0;
    await expect(waitFor(() => (asked += 1) > 40 && throwing())).rejects.toBe(thrown);
    await expect(waitFor(() => false, { timeoutMs: 10, describe: throwing })).rejects.toBe(thrown);
  });

  it('asks no more once its deadline has passed', async () => {
    let asked = 0;
    await waitFor(() => (asked += 1) < 0, { timeoutMs: 20 }).catch(() => undefined);
    const before = asked;

    await waitFor(() => false, { timeoutMs: 50 }).catch(() => undefined);

    expect(asked).toBe(before);
  });
});
