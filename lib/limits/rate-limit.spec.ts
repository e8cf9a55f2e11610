import { beforeEach, describe, expect, it } from '@jest/globals';
import { RateLimit } from './rate-limit.js';

describe('a rate limit', () => {
  let now: number;
  const of = (perMinute: number) => new RateLimit(perMinute, () => now);

  beforeEach(() => {
    now = 1_000_000;
  });

  it('allows as many at once as in a minute, and then one after the other', () => {
    const limit = of(60);
    for (let n = 0; n < 60; n += 1) {
      expect(limit.waitMs(['a'])).toBe(0);
      limit.take(['a']);
    }
    expect(limit.waitMs(['a'])).toBe(1_000);
    now += 500;
    expect(limit.waitMs(['a'])).toBe(500);
    now += 501;
    expect(limit.waitMs(['a'])).toBe(0);
    limit.take(['a']);
    expect(limit.waitMs(['a'])).toBe(999);
  });

  it('counts each key for itself, and of several the one that waits longest', () => {
    const limit = of(1);
    limit.take(['a']);
    now += 30_000;
    limit.take(['b']);
    expect(limit.waitMs(['a'])).toBe(30_000);
    expect(limit.waitMs(['a', 'b', 'c'])).toBe(60_000);
    expect(limit.waitMs(['c'])).toBe(0);
    expect(limit.waitMs([])).toBe(0);
  });

  it('lets a key go into debt, which it waits for', () => {
    const limit = of(100);
    limit.take(['a'], 500);
    expect(limit.waitMs(['a'])).toBe(((500 - 100 + 1) / 100) * 60_000);
  });

  it('takes back what was taken for nothing', () => {
    const limit = of(1);
    limit.take(['a']);
    limit.giveBack(['a', 'unknown']);
    expect(limit.waitMs(['a'])).toBe(0);
  });

  it('forgets keys that have their whole allowance again, without a timer', () => {
    const limit = of(10);
    for (let n = 0; n < 1_000; n += 1) {
      limit.take([`user ${n}`]);
    }
    expect(limit.size).toBe(1_000);
    now += 60_000;
    for (let n = 0; n < 1_000; n += 1) {
      limit.take(['busy']);
    }
    expect(limit.size).toBe(1);
  });

  it('remembers a key that is in debt for longer than a minute', () => {
    const limit = of(10);
    limit.take(['a'], 1_000);
    now += 60_000;
    for (let n = 0; n < 100; n += 1) {
      limit.take([`user ${n}`]);
    }
    expect(limit.waitMs(['a'])).toBeGreaterThan(0);
  });

  it('remembers 100,000 keys at most, the newest', () => {
    const limit = of(1);
    for (let n = 0; n <= 100_001; n += 1) {
      limit.take([`user ${n}`]);
    }
    expect(limit.size).toBe(100_000);
    expect(limit.waitMs(['user 1'])).toBe(0);
    expect(limit.waitMs(['user 2'])).toBe(60_000);
  });

  it('remembers nothing if there is no limit', () => {
    const limit = of(Infinity);
    limit.take(['a'], 1_000_000);
    expect([limit.waitMs(['a']), limit.size]).toEqual([0, 0]);
  });
});
