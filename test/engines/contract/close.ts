import { beforeEach, describe, expect, it } from '@jest/globals';
import type { EventLog, EventLogStore } from '../../../lib/log/index.js';
import type { Contract } from './contract.js';
import { Ear } from './ear.js';
import { FOREVER, HOUR_MS, record } from './records.js';

export function close(contract: Contract): void {
  describe('close', () => {
    let store: EventLogStore;
    let peer: EventLogStore;
    let log: EventLog;
    const { driver } = contract;

    beforeEach(() => {
      ({ store, peer, log } = contract);
    });

    const closed = { code: 'closed' };

    it('rejects whatever is asked later, and says that nothing was appended', async () => {
      const run = await store.open('run', FOREVER);
      await store.close();
      for (const each of [log, run]) {
        await expect(each.append([record(1)])).rejects.toMatchObject({ ...closed, isOutcomeKnown: true });
        await expect(each.page(1, 1)).rejects.toMatchObject(closed);
        await expect(each.head()).rejects.toMatchObject(closed);
        await expect(each.follow(new Ear())).rejects.toMatchObject(closed);
      }
      await expect(store.open('run', FOREVER)).rejects.toMatchObject(closed);
      await expect(store.open('new', FOREVER)).rejects.toMatchObject(closed);
      await expect(store.find('run', { from: 1, limit: 1 })).rejects.toMatchObject(closed);
      await expect(store.lease('run', { ttlMs: HOUR_MS })).rejects.toMatchObject(closed);
    });

    it('ends what followed, without another word', async () => {
      const run = await store.open('run', FOREVER);
      const [ear, runEar] = [new Ear(), new Ear()];
      await log.follow(ear);
      await run.follow(runEar);
      await log.append([record(1)]);
      await ear.until(1);
      await log.append([record(2)]);
      await store.close();
      const calls = ear.calls;
      await new Promise((resolve) => setImmediate(resolve));
      await driver.pass(driver.ttlMs);
      expect([ear.calls, ear.resets, runEar.calls, runEar.resets]).toEqual([calls, [], 0, []]);
    });

    it('ends the leases that were had through it, so that others can have them', async () => {
      const lease = (await store.lease('run', { ttlMs: HOUR_MS }))!;
      await store.close();
      expect(lease.signal.aborted).toBe(true);
      expect(await lease.renew()).toBe(false);
      await lease.release();
      if (peer !== store) {
        expect(await peer.lease('run', { ttlMs: HOUR_MS })).toBeDefined();
      }
    });

    it('can be asked for again', async () => {
      const closing = Promise.all([store.close(), store.close()]);
      await expect(closing).resolves.toBeDefined();
      await expect(store.close()).resolves.toBeUndefined();
    });
  });
}
