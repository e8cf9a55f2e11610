import { describe, expect, it } from '@jest/globals';
import { bytes, counted, duration, words } from './page/format.js';

describe('the page of the inspector', () => {
  it.each([
    [0, '0 B'],
    [999, '999 B'],
    [1_000, '1.0 kB'],
    [123_456, '123 kB'],
    [5_000_000, '5.0 MB'],
    [7e15, '7000 TB'],
  ])('shows %d bytes as %s', (value, text) => expect(bytes(value)).toBe(text));

  it.each([
    [999, '0 s'],
    [59_999, '59 s'],
    [61_000, '1 min 1 s'],
    [3_600_000, '1 h 0 min'],
    [47 * 3_600_000, '47 h 0 min'],
    [50 * 3_600_000, '2 d 2 h'],
  ])('shows %d ms as %s', (ms, text) => expect(duration(ms)).toBe(text));

  it('counts things, and names them in words', () => {
    expect([counted(1, 'run'), counted(10_000, 'run'), words('queuedBytesPerKey')]).toEqual([
      '1 run',
      '10,000 runs',
      'queued bytes per key',
    ]);
  });
});
