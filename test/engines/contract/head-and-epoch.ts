import { beforeEach, describe, expect, it } from '@jest/globals';
import type { EventLog, EventLogStore } from '../../../lib/log/index.js';
import type { Contract } from './contract.js';
import { Ear } from './ear.js';
import { NO_NONCE, records, recordsOf } from './records.js';

export function headAndEpoch(contract: Contract): void {
  describe('head and epoch', () => {
    let peer: EventLogStore;
    let log: EventLog;

    beforeEach(() => {
      ({ peer, log } = contract);
    });

    it('is the place before the first, until there is one', async () => {
      expect(await log.head()).toEqual({ epoch: expect.any(String), sequence: 0, nonce: NO_NONCE });
    });

    it('is the place of the newest record', async () => {
      const { epoch } = await log.head();
      await log.append(records(1, 3));
      const last = (await recordsOf(log))[2]!;
      expect(await log.head()).toEqual({ epoch, sequence: 3, nonce: last.nonce });
      expect(await peer.log.head()).toEqual(await log.head());
    });

    it('has one epoch, that can stand in an id, for as long as the log lives', async () => {
      const { epoch } = await log.head();
      await log.append(records(1, 10));
      const { head } = await peer.log.follow(new Ear());
      expect([(await log.head()).epoch, (await log.page(1, 1)).epoch, head.epoch]).toEqual([
        epoch,
        epoch,
        epoch,
      ]);
      expect(epoch).toMatch(/^[0-9a-z]{1,32}$/);
    });
  });
}
