import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { Expiry } from './expiry.js';

describe('Expiry', () => {
  let expired: number;
  const onExpire = () => (expired += 1);

  beforeEach(() => {
    jest.useFakeTimers();
    expired = 0;
  });
  afterEach(() => {
    expect(jest.getTimerCount()).toBe(0);
    jest.useRealTimers();
  });

  it('comes once, after its time and not before', () => {
    const expiry = new Expiry(100, onExpire);
    jest.advanceTimersByTime(99);
    expect(expired).toBe(0);
    jest.advanceTimersByTime(1);
    expect(expired).toBe(1);
    jest.advanceTimersByTime(1_000);
    expect(expired).toBe(1);
    expiry.cancel();
  });

  it('is put off as often as wanted, with one timer', () => {
    const expiry = new Expiry(100, onExpire);
    for (let n = 0; n < 50; n += 1) {
      jest.advanceTimersByTime(60);
      expiry.putOff();
      expect(jest.getTimerCount()).toBe(1);
    }
    jest.advanceTimersByTime(99);
    expect(expired).toBe(0);
    jest.advanceTimersByTime(1);
    expect(expired).toBe(1);
  });

  it.each([
    ['a shorter time', 1_000, 100],
    ['a longer time', 100, 1_000],
  ])('takes %s from then on', (_what, ttlMs, next) => {
    const expiry = new Expiry(ttlMs, onExpire);
    jest.advanceTimersByTime(50);
    expiry.putOff(next);
    jest.advanceTimersByTime(next - 1);
    expect(expired).toBe(0);
    expiry.putOff();
    jest.advanceTimersByTime(next - 1);
    expect(expired).toBe(0);
    jest.advanceTimersByTime(1);
    expect(expired).toBe(1);
  });

  it('does not come when it was cancelled', () => {
    new Expiry(100, onExpire).cancel();
    jest.advanceTimersByTime(1_000);
    expect(expired).toBe(0);
  });

  it('waits for longer than a timer of Node can be', () => {
    const setTimer = jest.spyOn(globalThis, 'setTimeout');
    const expiry = new Expiry(2 ** 31 + 5_000, onExpire);
    jest.advanceTimersByTime(2 ** 31 + 4_999);
    expect(expired).toBe(0);
    jest.advanceTimersByTime(1);
    expect(expired).toBe(1);
    // Node takes a longer one for a millisecond.
    expect(setTimer.mock.calls.map(([, ms]) => ms)).toEqual([2 ** 31 - 1, 5_001]);
    expiry.cancel();
  });
});
