import { beforeEach, describe, expect, it } from '@jest/globals';
import type { EventLogStore } from '../../../lib/log/index.js';
import type { Contract } from './contract.js';
import { inTime } from './in-time.js';
import { HOUR_MS, range } from './records.js';

export function claim(contract: Contract): void {
  describe('claim', () => {
    let store: EventLogStore;
    let peer: EventLogStore;
    const { driver } = contract;
    const long = { ttlMs: HOUR_MS };

    beforeEach(() => {
      ({ store, peer } = contract);
    });

    it('takes a name for the first caller, wherever the others ask', async () => {
      expect(await store.claim('ticket', long)).toBe(true);
      expect(await store.claim('ticket', long)).toBe(false);
      expect(await peer.claim('ticket', long)).toBe(false);
      expect(await peer.claim('another ticket', long)).toBe(true);
    });

    it('takes it for one of many who ask at once', async () => {
      const asked = await Promise.all(range(1, 20).map((n) => (n % 2 ? store : peer).claim('ticket', long)));
      expect(asked.filter(Boolean)).toHaveLength(1);
    });

    it('takes it for its time, and for another one after it', async () => {
      const brief = { ttlMs: driver.ttlMs };
      await inTime(driver, async (name, pass) => {
        await store.claim(name, brief);
        await pass(0.4);
        expect(await peer.claim(name, brief)).toBe(false);
        await pass(1);
        expect(await peer.claim(name, brief)).toBe(true);
      });
    });

    it('has nothing to do with a lease or a log of the same name', async () => {
      await store.claim('run', long);
      const lease = await peer.lease('run', long);
      expect(lease).toBeDefined();
      const log = await peer.open('run', { maxEvents: 10, ttlMs: HOUR_MS });
      expect((await log.head()).sequence).toBe(0);
      await store.lease('other run', long);
      expect(await store.claim('other run', long)).toBe(true);
    });

    it('holds after its store has closed, and is refused by it', async () => {
      await store.claim('ticket', long);
      await store.close();
      await expect(store.claim('another', long)).rejects.toMatchObject({ code: 'closed' });
      // A store in memory is its own peer.
      if (peer !== store) {
        expect(await peer.claim('ticket', long)).toBe(false);
      }
    });
  });
}
