import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { AwayLog } from '../../test/support/servers/away-log.js';
import { memory } from '../engines/memory/index.js';
import type { EventLogStore } from '../log/index.js';
import { waitFor } from '../testing/index.js';
import { DeadlineWheel } from '../time/index.js';
import { Revocations } from './revocations.js';

const silent = {
  warn: () => undefined,
  error: () => undefined,
  debug: () => undefined,
  log: () => undefined,
};

describe('Revocations', () => {
  let store: EventLogStore;
  const opened: Revocations[] = [];
  beforeEach(() => {
    store = memory()();
  });
  afterEach(async () => {
    opened.splice(0).forEach((each) => each.close());
    await store.close();
  });

  /** An instance on the store, and the keys that it was told to end. */
  const instance = async (maxKeys?: number) => {
    const ended: string[] = [];
    const revocations = new Revocations(
      store,
      {
        isEnabled: true,
        wheel: new DeadlineWheel(),
        reporter: silent,
        onRevoked: (keys) => void ended.push(...keys),
      },
      maxKeys,
    );
    opened.push(revocations);
    await revocations.start();
    return { revocations, ended };
  };
  const recordsOf = async () => (await store.find('revocations', { from: 1, limit: 1_000 }))!.page.records;

  it('are known to instances that are there and to those that come later', async () => {
    const [one, other] = [await instance(), await instance()];
    await one.revocations.revoke('anna', 60_000);
    await waitFor(() => other.ended.includes('anna'));
    expect(other.revocations.isRevoked(['ben', 'anna'])).toBe(true);
    expect(other.revocations.isRevoked(['ben'])).toBe(false);
    const later = await instance();
    expect(later.revocations.isRevoked(['anna'])).toBe(true);
  });

  describe('at the start', () => {
    let away: AwayLog;
    beforeEach(async () => {
      await store.close();
      away = new AwayLog();
      store = away;
      away.isAway = true;
      jest.useFakeTimers();
    });
    afterEach(() => void jest.useRealTimers());

    it('are asked for again while the log does not answer, as its events are', async () => {
      const starting = instance();
      await jest.advanceTimersByTimeAsync(3_000);
      away.isAway = false;
      await jest.advanceTimersByTimeAsync(1_000);
      expect((await starting).revocations.isCurrent).toBe(true);
    });

    it('fail it if the log stays away', async () => {
      const code = instance().catch((error: { code: string }) => error.code);
      await jest.advanceTimersByTimeAsync(11_000);
      expect(await code).toBe('log-unavailable');
    });
  });

  it('outlive the trimming of their log', async () => {
    const { revocations } = await instance(10);
    await revocations.revoke('anna', 60_000);
    // One key, prolonged again and again, would push the other out of the log.
    for (let n = 1; n <= 60; n += 1) {
      await revocations.revoke('ben', 60_000 + n);
      if (n % 12 === 0) {
        await waitFor(async () => {
          const { sequence } = (await recordsOf()).findLast(({ data }) => data.includes('anna'))!;
          return (
            sequence >
            (await (await store.find('revocations', { from: 1, limit: 0 }))!.log.head()).sequence - 10
          );
        });
      }
    }
    const later = await instance(10);
    expect(later.revocations.isRevoked(['anna'])).toBe(true);
    expect(later.revocations.isRevoked(['ben'])).toBe(true);
  });

  it('are refused past their bound, and taken again once others have expired', async () => {
    const { revocations } = await instance(10);
    for (let n = 0; n < 10; n += 1) {
      await revocations.revoke(`user ${n}`, 60_000);
    }
    await expect(revocations.revoke('one more', 60_000)).rejects.toMatchObject({ code: 'revocations-full' });
    expect(revocations.isRevoked(['one more'])).toBe(false);
    expect(revocations.refusedHere).toBe(1);
    await revocations.revoke('user 3', 120_000);
    const { now } = Date;
    Date.now = () => now() + 61_000;
    try {
      await revocations.revoke('one more', 60_000);
      expect(revocations.size).toBe(2);
    } finally {
      Date.now = now;
    }
  });

  it('pass over what another program has written', async () => {
    const { revocations } = await instance();
    const log = await store.open('revocations', { maxEvents: 200_000, ttlMs: 2 ** 31 - 1 });
    for (const data of ['', 'null', '{}', '[1,2]', '["anna"]', '["anna","later"]', '["__proto__",1e99]']) {
      await log.append([{ topic: 'x', data, isJson: true }]);
    }
    await revocations.revoke('ben', 60_000);
    await waitFor(() => revocations.isRevoked(['ben', '__proto__']));
    expect(revocations.isRevoked(['anna'])).toBe(false);
  });
});
