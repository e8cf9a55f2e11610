import { describe, expect, it } from '@jest/globals';
import { Random } from '../../support/random.js';
import { growthOf, grows } from './slope.js';
import type { Point } from './slope.js';

/** A level with noise that neighbours share in part, as a heap has, and what is added to it over the whole time. */
function noisy(seed: number, { growth = 0, noise = 10, count = 90 } = {}): Point[] {
  const random = new Random(seed);
  let drift = 0;
  return Array.from({ length: count }, (_, n) => {
    drift = 0.7 * drift + noise * (random.next() - 0.5);
    return { atMs: n * 1_000, value: 100 + (growth * n) / (count - 1) + drift };
  });
}

const seeds = Array.from({ length: 200 }, (_, seed) => seed + 1);

describe('the growth of a value', () => {
  it('is exact for values on a line', () => {
    const points = Array.from({ length: 24 }, (_, n) => ({ atMs: n * 500, value: 7 + 3 * n }));
    const { low, most, high, overMs } = growthOf(points);
    expect(overMs).toBe(11_500);
    for (const growth of [low, most, high]) {
      expect(growth).toBeCloseTo(69, 6);
    }
  });

  it('has the interval of a textbook', () => {
    // y = 2.2 + 0.6 x; the standard error of the slope is 0.2828, and t(0.975, 3) is 3.182.
    const points = [2, 4, 5, 4, 5].map((value, n) => ({ atMs: n + 1, value }));
    const { low, most, high } = growthOf(points);
    expect(most).toBeCloseTo(4 * 0.6, 6);
    expect(high - most).toBeCloseTo(4 * 3.182 * 0.2828, 1);
    expect(most - low).toBeCloseTo(high - most, 6);
  });

  it('has an interval that holds the true growth in about 95 of 100 cases', () => {
    const hits = seeds.filter((seed) => {
      const { low, high } = growthOf(noisy(seed, { growth: 40 }));
      return low <= 40 && 40 <= high;
    });
    expect(hits.length).toBeGreaterThan(0.88 * seeds.length);
    expect(hits.length).toBeLessThan(seeds.length);
  });

  it('is found in noise as large as itself', () => {
    expect(seeds.filter((seed) => !grows(growthOf(noisy(seed, { growth: 30, noise: 15 })), 5))).toEqual([]);
  });

  it('is not found where there is none, or no more than is tolerated', () => {
    expect(seeds.filter((seed) => grows(growthOf(noisy(seed)), 5))).toEqual([]);
    expect(seeds.filter((seed) => grows(growthOf(noisy(seed, { growth: 5 })), 10))).toEqual([]);
  });

  it('is not found in a value that falls, or that jumps up and down', () => {
    expect(grows(growthOf(noisy(1, { growth: -80 })), 0)).toBe(false);
    const sawtooth = Array.from({ length: 96 }, (_, n) => ({ atMs: n, value: (n * 7) % 24 }));
    expect(grows(growthOf(sawtooth), 5)).toBe(false);
  });

  it('needs four points, at different times', () => {
    const points = [1, 2, 3].map((value) => ({ atMs: value, value }));
    expect(() => growthOf(points)).toThrow('4 points or more, got 3');
    expect(() => growthOf([1, 2, 3, 4].map((value) => ({ atMs: 0, value })))).toThrow('the same time');
  });
});
