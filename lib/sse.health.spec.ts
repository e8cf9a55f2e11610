import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { HealthState } from './engines/index.js';
import { HealthMonitor } from './sse.health.js';
import type { SseHealthState } from './sse.health.js';

describe('HealthMonitor', () => {
  let health: HealthState;
  let monitor: HealthMonitor;
  let lines: string[];

  const create = (first: HealthState = new HealthState('ready')) => {
    health = first;
    lines = [];
    monitor = new HealthMonitor(health, {
      warn: (message) => lines.push(`warn ${message}`),
      log: (message) => lines.push(`log ${message}`),
    });
  };
  /** Takes the log away for a time. */
  const away = (ms: number, reason = 'no answer') => {
    health.set('down', reason);
    jest.advanceTimersByTime(ms);
    health.set('ready');
  };

  beforeEach(() => {
    jest.useFakeTimers({ now: 1_000_000 });
    create();
    monitor.start();
  });
  afterEach(() => {
    monitor.close();
    expect(jest.getTimerCount()).toBe(0);
    jest.useRealTimers();
  });

  it('has the state of the log, its reason and its time', () => {
    expect([monitor.state, monitor.reason, monitor.since]).toEqual(['ready', undefined, new Date(1_000_000)]);
    jest.advanceTimersByTime(500);
    health.set('degraded', 'the reader lags');
    jest.advanceTimersByTime(500);
    health.set('degraded', 'the reader lags by far');
    expect([monitor.state, monitor.reason]).toEqual(['degraded', 'the reader lags by far']);
    expect(monitor.since).toEqual(new Date(1_000_500));
  });

  it('emits each change, and completes when it is closed', () => {
    const told: (SseHealthState | string)[] = [];
    health.set('degraded', 'before');
    monitor.changes.subscribe({ next: (state) => told.push(state), complete: () => told.push('complete') });
    health.set('down', 'no answer');
    health.set('down', 'still none');
    jest.advanceTimersByTime(100);
    health.set('ready');
    monitor.close();
    health.set('down');
    expect(told).toEqual([
      { state: 'down', reason: 'no answer', since: new Date(1_000_000) },
      { state: 'ready', reason: undefined, since: new Date(1_000_100) },
      'complete',
    ]);
    monitor.changes.subscribe({ complete: () => told.push('complete at once') });
    expect(told.at(-1)).toBe('complete at once');
  });

  it('logs once that the log has not been ready for a second, and once that it is again', () => {
    health.set('degraded', 'the reader lags');
    jest.advanceTimersByTime(500);
    health.set('down', 'no answer');
    jest.advanceTimersByTime(499);
    expect(lines).toEqual([]);
    jest.advanceTimersByTime(1);
    health.set('degraded', 'the reader lags');
    jest.advanceTimersByTime(60_000);
    health.set('ready');
    expect(lines).toEqual([
      'warn The log of topics is down: no answer.',
      'log The log of topics is ready again, after 61.0 s.',
    ]);
  });

  it('logs nothing for a short outage', () => {
    for (let n = 0; n < 100; n += 1) {
      away(999);
      jest.advanceTimersByTime(100);
    }
    jest.advanceTimersByTime(60_000);
    expect(lines).toEqual([]);
  });

  it('logs one pair in ten seconds, and how many were left out with the next', () => {
    for (let n = 0; n < 4; n += 1) {
      away(1_500);
      jest.advanceTimersByTime(500);
    }
    expect(lines.splice(0)).toEqual([
      'warn The log of topics is down: no answer.',
      'log The log of topics is ready again, after 1.5 s.',
    ]);
    // Ten seconds after the first warning.
    health.set('degraded', 'the reader lags');
    jest.advanceTimersByTime(2_999);
    expect(lines).toEqual([]);
    jest.advanceTimersByTime(1);
    expect(lines.splice(0)).toEqual([
      'warn The log of topics is degraded: the reader lags. Since the last message it was away 3 times more.',
    ]);
    health.set('ready');
    expect(lines.splice(0)).toEqual(['log The log of topics is ready again, after 3.0 s.']);
    jest.advanceTimersByTime(60_000);
    away(2_000);
    expect(lines).toEqual([
      'warn The log of topics is down: no answer.',
      'log The log of topics is ready again, after 2.0 s.',
    ]);
  });

  it('logs how many were left out even if none comes after them', () => {
    away(1_500);
    away(1_500);
    lines.length = 0;
    jest.advanceTimersByTime(7_999);
    expect(lines).toEqual([]);
    jest.advanceTimersByTime(1);
    expect(lines).toEqual(['log The log of topics is ready. Since the last message it was away once more.']);
    jest.advanceTimersByTime(60_000);
    expect(lines).toHaveLength(1);
  });

  it('logs at most one pair in ten seconds for a log that comes and goes for an hour', () => {
    for (let n = 0; n < 1_200; n += 1) {
      away(1_500);
      jest.advanceTimersByTime(1_500);
    }
    expect(lines.length).toBeLessThanOrEqual(720);
    const counted = lines.map((line) => Number(/away (\d+) times more/.exec(line)?.[1] ?? 0));
    const told = lines.filter((line) => line.startsWith('warn')).length;
    expect(told + counted.reduce((sum, count) => sum + count)).toBeGreaterThanOrEqual(1_195);
  });

  it('warns of nothing before it is started, and then of a log that is not ready', () => {
    create(new HealthState('down', 'nobody has asked'));
    health.set('degraded', 'not followed');
    health.set('down', 'nobody has asked');
    jest.advanceTimersByTime(60_000);
    expect(lines).toEqual([]);
    monitor.start();
    jest.advanceTimersByTime(4_999);
    expect(lines).toEqual([]);
    jest.advanceTimersByTime(1);
    expect(lines).toEqual(['warn The log of topics is down: nobody has asked.']);
  });

  it('logs nothing for a start that takes some seconds', () => {
    create(new HealthState('down', 'no connection yet'));
    monitor.start();
    jest.advanceTimersByTime(4_000);
    health.set('ready');
    jest.advanceTimersByTime(60_000);
    expect(lines).toEqual([]);
    away(1_000);
    expect(lines).toHaveLength(2);
  });

  it('logs nothing after it was closed', () => {
    health.set('down', 'no answer');
    monitor.close();
    jest.advanceTimersByTime(60_000);
    health.set('ready');
    expect(lines).toEqual([]);
  });
});
