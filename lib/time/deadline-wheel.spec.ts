import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { DeadlineWheel } from './deadline-wheel.js';

describe('DeadlineWheel', () => {
  beforeEach(() => {
    jest.useFakeTimers();
  });
  afterEach(() => {
    jest.useRealTimers();
  });

  it('calls a deadline once, not before its time and at most a fiftieth late', () => {
    const wheel = new DeadlineWheel();
    const late: number[] = [];
    for (const delayMs of [0, 5, 20, 150, 1_000, 15_000, 3_600_000]) {
      const due = wheel.now() + delayMs;
      wheel.schedule(delayMs, () => late.push((wheel.now() - due) / Math.max(20, delayMs / 50)));
    }

    jest.advanceTimersByTime(4_000_000);

    expect(late).toHaveLength(7);
    // A millisecond of grace: timers count whole ones.
    expect(Math.min(...late)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...late)).toBeLessThanOrEqual(1 + 1 / 20);
  });

  it('holds one timer however many deadlines it has, and none when it has none', () => {
    const wheel = new DeadlineWheel();
    const deadlines = Array.from({ length: 1_000 }, (_, index) =>
      wheel.schedule(index * 10, () => undefined),
    );

    expect(jest.getTimerCount()).toBe(1);
    expect(wheel.size).toBe(1_000);

    deadlines.forEach((deadline) => wheel.cancel(deadline));
    expect(wheel.size).toBe(0);
    expect(jest.getTimerCount()).toBe(0);
  });

  it('calls the others where one throws, and tells of it', () => {
    const thrown: unknown[] = [];
    const wheel = new DeadlineWheel((error) => thrown.push(error));
    const called: number[] = [];
    for (const n of [1, 2, 3]) {
      wheel.schedule(100, () => {
        called.push(n);
        if (n === 2) {
          throw new Error('of one client');
        }
      });
    }
    wheel.schedule(500, () => called.push(4));

    jest.advanceTimersByTime(1_000);

    expect(called).toEqual([1, 2, 3, 4]);
    expect(thrown).toEqual([new Error('of one client')]);
  });

  it('does not call what was cancelled, also by another deadline of the same turn', () => {
    const wheel = new DeadlineWheel();
    const called: string[] = [];
    const second = { deadline: undefined as ReturnType<DeadlineWheel['schedule']> | undefined };
    wheel.schedule(100, () => {
      called.push('first');
      wheel.cancel(second.deadline);
    });
    second.deadline = wheel.schedule(100, () => called.push('second'));

    jest.advanceTimersByTime(500);

    expect(called).toEqual(['first']);
    expect(jest.getTimerCount()).toBe(0);
  });

  it('takes an earlier deadline before a later one that was there first', () => {
    const wheel = new DeadlineWheel();
    const called: string[] = [];
    wheel.schedule(10_000, () => called.push('late'));
    wheel.schedule(100, () => called.push('early'));

    jest.advanceTimersByTime(200);
    expect(called).toEqual(['early']);
    jest.advanceTimersByTime(11_000);
    expect(called).toEqual(['early', 'late']);
  });

  it('waits for a deadline that is further off than a timer of Node can be', () => {
    const wheel = new DeadlineWheel();
    let calls = 0;
    wheel.schedule(2 ** 31 + 1_000_000, () => (calls += 1));

    jest.advanceTimersByTime(2 ** 31 - 10);
    expect(calls).toBe(0);
    jest.advanceTimersByTime(200_000_000);
    expect(calls).toBe(1);
  });

  it('lets a deadline schedule the next, as a heartbeat does', () => {
    const wheel = new DeadlineWheel();
    let beats = 0;
    const beat = (): void => {
      beats += 1;
      wheel.schedule(1_000, beat);
    };
    wheel.schedule(1_000, beat);

    jest.advanceTimersByTime(10_500);

    expect(beats).toBe(10);
    expect(jest.getTimerCount()).toBe(1);
  });
});
