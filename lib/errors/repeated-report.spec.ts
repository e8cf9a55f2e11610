import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { RepeatedReport } from './repeated-report.js';

describe('RepeatedReport', () => {
  let now: number;
  let lines: string[];
  let reports: RepeatedReport;

  beforeEach(() => {
    now = 1_000;
    lines = [];
    jest.spyOn(performance, 'now').mockImplementation(() => now);
    reports = new RepeatedReport({
      warn: (message) => lines.push(message),
      error: (message, error) => lines.push(`${message} ${String(error)}`),
      debug: (message) => lines.push(message),
    });
  });
  afterEach(() => {
    jest.restoreAllMocks();
  });

  it('reports each kind once in ten seconds, with the number of those that were left out', () => {
    for (let n = 0; n < 5; n += 1) {
      reports.warn('a', 'first');
      reports.error('b', 'second', new Error('why'));
    }
    expect(lines).toEqual(['first', 'second Error: why']);
    now += 9_999;
    reports.warn('a', 'first');
    expect(lines).toHaveLength(2);
    now += 1;
    reports.warn('a', 'first');
    expect(lines.at(-1)).toBe('first (and 5 more since the last message)');
    now += 10_000;
    reports.warn('a', 'first');
    expect(lines.at(-1)).toBe('first');
  });

  it('makes no message that is not reported', () => {
    let made = 0;
    for (let n = 0; n < 5; n += 1) {
      reports.debug('a', () => `message ${(made += 1)}`);
    }
    expect(lines).toEqual(['message 1']);
    expect(made).toBe(1);
  });
});
