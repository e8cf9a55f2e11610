import { beforeEach, describe, expect, it } from '@jest/globals';
import type { EventLog, EventLogStore } from '../../../lib/log/index.js';
import type { Contract } from './contract.js';
import { HOUR_MS, range, records, sequencesOf } from './records.js';

export function page(contract: Contract): void {
  describe('page', () => {
    let store: EventLogStore;
    let log: EventLog;

    beforeEach(() => {
      ({ store, log } = contract);
    });

    it('holds the records from the asked one on, as many as asked', async () => {
      await log.append(records(1, 30));
      const { epoch, records: page, first, head } = await log.page(11, 5);
      expect(sequencesOf(page)).toEqual(range(11, 15));
      expect([epoch, first, head]).toEqual([(await log.head()).epoch, 1, 30]);
    });

    it.each([
      ['all of it', 1, 30, range(1, 30)],
      ['more than it has', 21, 100, range(21, 30)],
      ['from below the first', 0, 2, [1, 2]],
      ['the last', 30, 10, [30]],
      ['one past the head', 31, 10, []],
      ['far beyond the head', 1_000, 10, []],
    ])('of %s', async (_what, from, limit, expected) => {
      await log.append(records(1, 30));
      const { records: page, first, head } = await log.page(from, limit);
      expect(sequencesOf(page)).toEqual(expected);
      expect([first, head]).toEqual([1, 30]);
    });

    it('of an empty log has none, and says that the first is yet to come', async () => {
      const { epoch } = await log.head();
      expect(await log.page(1, 10)).toEqual({ epoch, records: [], first: 1, head: 0 });
    });

    it('of a trimmed log begins with the first that is held', async () => {
      const small = await store.open('small', { maxEvents: 10, ttlMs: HOUR_MS });
      for (let from = 1; from <= 1_000; from += 100) {
        await small.append(records(from, from + 99));
      }
      const { records: page, first, head } = await small.page(1, 3);
      expect(head).toBe(1_000);
      expect(first).toBeGreaterThan(1);
      expect(sequencesOf(page)).toEqual(range(first, first + 2));
    });
  });
}
