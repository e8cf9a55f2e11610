import { describe, expect, it } from '@jest/globals';
import { Durations } from './durations.js';

describe('durations', () => {
  it('count in the bucket of the next higher bound, and above all of them', () => {
    const durations = new Durations([1, 10, 100]);
    for (const ms of [0, 1, 1.5, 10, 11, 100, 101, 5_000]) {
      durations.add(ms);
    }
    expect(durations.read()).toEqual({
      boundsMs: [1, 10, 100],
      counts: [2, 2, 2, 2],
      count: 8,
      sumMs: 5_224.5,
    });
  });

  it('are read as a copy', () => {
    const durations = new Durations([1]);
    const before = durations.read();
    durations.add(3);
    expect(before).toMatchObject({ counts: [0, 0], count: 0, sumMs: 0 });
  });
});
