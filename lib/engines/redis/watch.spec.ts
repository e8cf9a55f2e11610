import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { HealthState, RecordCheck } from '../index.js';
import type { RedisConnection } from './clients.js';
import { RedisKeys } from './keys.js';
import { RedisLink } from './link.js';
import { FollowedLog } from './reader.js';
import { RedisWatch } from './watch.js';

describe('a watch over the reader', () => {
  const keys = new RedisKeys('sse', 'topics').log();
  const headAt = (sequence: number) => ({ epoch: 'one', sequence, nonce: '00000001' });
  let log: FollowedLog;
  /** Of the log, as the connection for commands sees it. */
  let sequence: number;
  let reconnects: number;
  let watch: RedisWatch;
  let commands: RedisLink;
  let health: HealthState;

  beforeEach(() => {
    jest.useFakeTimers();
    const check = new RecordCheck('Redis', { warn: () => undefined });
    const rules = { check, maxEventBytes: Infinity, key: keys.events };
    log = new FollowedLog(keys, false, { head: headAt(0), rules });
    health = new HealthState('ready');
    sequence = 0;
    reconnects = 0;
    const connection: RedisConnection = {
      isOneServer: true,
      send: () => Promise.resolve(['one', String(sequence)]),
      destroy: () => undefined,
    };
    commands = new RedisLink(() => Promise.resolve(connection), 1_000);
    watch = new RedisWatch({
      commands,
      health,
      keys,
      followed: () => log,
      isHeldUp: () => false,
      reconnect: () => (reconnects += 1),
    });
    watch.start();
  });
  afterEach(() => {
    watch.close();
    commands.close();
    expect(jest.getTimerCount()).toBe(0);
    jest.useRealTimers();
  });

  /** Time passes, in which the log grows, and the reader gets as far as that. */
  async function pass(seconds: number, read: (second: number) => number): Promise<void> {
    for (let second = 1; second <= seconds; second += 1) {
      sequence += 100;
      log.head = headAt(read(second));
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
});
