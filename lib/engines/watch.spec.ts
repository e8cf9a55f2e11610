import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { HealthState } from './health.js';
import { EngineWatch } from './watch.js';
import type { WatchedFailure } from './watch.js';

const failure = (message: string, { hint = '', isOfConnection = false } = {}): WatchedFailure =>
  Object.assign(new Error(message), { isTransient: true, hint, isOfConnection });

describe('a watch over the reader', () => {
  const headAt = (sequence: number) => ({ epoch: 'one', sequence, nonce: '00000001' });
  let place: { epoch: string; sequence: number; nonce: string };
  /** Of the log, as the connection for commands sees it. */
  let sequence: number;
  let reconnects: number;
  let watch: EngineWatch<WatchedFailure>;
  let health: HealthState;

  beforeEach(() => {
    jest.useFakeTimers();
    place = headAt(0);
    health = new HealthState('ready');
    sequence = 0;
    reconnects = 0;
    const connections = {
      look: () => Promise.resolve({ epoch: 'one', sequence }),
      failureOf: (error: unknown) => failure(String(error)),
      dropCommands: () => undefined,
      place: () => place,
      isHeldUp: () => false,
      reconnect: () => void (reconnects += 1),
    };
    watch = new EngineWatch('Redis', connections, health);
    watch.start();
  });
  afterEach(() => {
    watch.close();
    expect(jest.getTimerCount()).toBe(0);
    jest.useRealTimers();
  });

  /** Time passes, in which the log grows, and the reader gets as far as that. */
  async function pass(seconds: number, read: (second: number) => number): Promise<void> {
    for (let second = 1; second <= seconds; second += 1) {
      sequence += 100;
      place = headAt(read(second));
      await jest.advanceTimersByTimeAsync(1_000);
    }
  }

  it('gives a reader that stands still behind the log another connection', async () => {
    await pass(5, () => 35);
    expect(reconnects).toBeGreaterThan(0);
  });

  it('says so within three seconds, and for as long as it stands behind, whatever is tried', async () => {
    watch.onReading();
    await pass(3, () => 35);
    const states = new Set<string>();
    for (let second = 0; second < 20; second += 1) {
      states.add(health.state);
      await pass(1, () => 35);
    }
    expect([...states]).toEqual(['degraded']);
    expect(health.reason).toContain('what was read at 35');
    await pass(2, () => sequence);
    expect(health.state).toBe('ready');
  });

  it('gives it one also where it went on for a moment when it was first seen behind', async () => {
    await pass(6, (second) => (second === 1 ? 35 : 40));
    expect(reconnects).toBeGreaterThan(0);
  });

  it('leaves one alone that goes on, however far behind', async () => {
    await pass(20, (second) => second);
    expect(reconnects).toBe(0);
  });

  it('leaves one alone that has all', async () => {
    await pass(20, () => sequence);
    expect(reconnects).toBe(0);
  });

  it('says what to do, once where both connections fail alike', () => {
    const hint = ' Check that the password is the present one.';
    const refusal = failure('password authentication failed', { hint });
    watch.onReading();
    watch.onOutcome(refusal);
    expect([health.state, health.reason]).toEqual([
      'degraded',
      'Redis: publishing fails (password authentication failed). Check that the password is the present one',
    ]);
    watch.onFailure(refusal);
    expect([health.state, health.reason]).toEqual([
      'down',
      'Redis: publishing fails (password authentication failed); reading fails (password authentication failed). ' +
        'Check that the password is the present one',
    ]);
  });

  it('goes on saying that publishing fails while tries go on failing, and a moment longer', async () => {
    const seen: string[] = [];
    watch.onReading();
    health.onChange(() => void seen.push(health.state));
    for (let tries = 0; tries < 20; tries += 1) {
      watch.onOutcome(failure('canceling statement due to statement timeout'));
      await jest.advanceTimersByTimeAsync(1_050);
    }
    expect(seen).toEqual(['degraded']);
    await jest.advanceTimersByTimeAsync(4_000);
    expect(seen).toEqual(['degraded', 'ready']);
  });

  it('takes a failure of the connection for over at the first look that works', async () => {
    watch.onReading();
    watch.onOutcome(failure('connection lost', { isOfConnection: true }));
    expect(health.state).toBe('degraded');
    await jest.advanceTimersByTimeAsync(1_000);
    expect(health.state).toBe('ready');
  });
});
