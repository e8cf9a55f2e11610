import { beforeEach, describe, expect, it } from '@jest/globals';
import { waitFor } from 'nestjs-event-stream/testing';
import type { EventLog, EventLogStore } from '../../../lib/log/index.js';
import type { Contract } from './contract.js';
import { inTime } from './in-time.js';
import { Ear } from './ear.js';
import { FOREVER, HOUR_MS, NO_NONCE, range, record, records, recordsOf, sequencesOf } from './records.js';

export function open(contract: Contract): void {
  describe('open', () => {
    let store: EventLogStore;
    let peer: EventLogStore;
    let log: EventLog;
    const { driver } = contract;

    beforeEach(() => {
      ({ store, peer, log } = contract);
    });

    it('opens a log of its own, apart from the app’s and from those of other names', async () => {
      const [first, second] = [await store.open('first', FOREVER), await store.open('second', FOREVER)];
      const ear = new Ear();
      await second.follow(ear);
      await log.append(records(1, 3));
      await first.append(records(1, 2));
      await second.append([record('second')]);
      await ear.until(1);
      expect(ear.heard.map(({ data }) => data)).toEqual(['"second"']);
      expect([
        (await recordsOf(log)).length,
        (await recordsOf(first)).length,
        (await recordsOf(second)).length,
      ]).toEqual([3, 2, 1]);
      const epochs = await Promise.all([log, first, second].map(async (of) => (await of.head()).epoch));
      expect(new Set(epochs).size).toBe(3);
    });

    it('opens the same log to everyone who gives its name', async () => {
      const mine = await store.open('run', FOREVER);
      await mine.append(records(1, 2));
      const [theirs, again] = [await peer.open('run', FOREVER), await store.open('run', FOREVER)];
      const ear = new Ear();
      await theirs.follow(ear);
      await again.append([record(3)]);
      await ear.until(3);
      expect(await recordsOf(theirs)).toEqual(await recordsOf(mine));
      expect(await theirs.head()).toEqual(await mine.head());
    });

    it('takes names of any characters for what they are', async () => {
      const names = ['a', 'a.b', 'a:b', '{a}', 'a*', '>', 'A', 'ä 😀', 'x'.repeat(200)];
      const logs = await Promise.all(names.map((name) => store.open(name, FOREVER)));
      await Promise.all(logs.map((opened, index) => opened.append([record(names[index])])));
      for (const [index, opened] of logs.entries()) {
        expect((await recordsOf(opened)).map(({ data }) => JSON.parse(data) as string)).toEqual([
          names[index],
        ]);
      }
    });

    it('keeps maxEvents of the newest, and not many more', async () => {
      const small = await store.open('small', { maxEvents: 10, ttlMs: HOUR_MS });
      for (let from = 1; from <= 2_000; from += 50) {
        await small.append(records(from, from + 49));
      }
      const { records: kept, first, head } = await small.page(1, 100_000);
      expect(head).toBe(2_000);
      expect(sequencesOf(kept)).toEqual(range(first, 2_000));
      expect(kept.length).toBeGreaterThanOrEqual(10);
      expect(kept.length).toBeLessThanOrEqual(driver.mostOfTen);
    });

    const brief = () => ({ maxEvents: 100, ttlMs: driver.ttlMs });

    it('keeps a log for its ttl after the last append', async () => {
      await inTime(driver, async (name, pass) => {
        const opened = await store.open(name, brief());
        await opened.append([record(1)]);
        await pass(0.6);
        await opened.append([record(2)]);
        await pass(0.6);
        expect((await recordsOf(await store.open(name, brief()))).length).toBe(2);
      });
    });

    it('keeps a log for its ttl after it was last opened', async () => {
      await inTime(driver, async (name, pass) => {
        const { epoch } = await (await store.open(name, brief())).head();
        await pass(0.6);
        await peer.open(name, brief());
        await pass(0.6);
        expect((await (await store.open(name, brief())).head()).epoch).toBe(epoch);
      });
    });

    it('begins another one under the name of one that has expired', async () => {
      const old = await store.open('run', brief());
      await old.append(records(1, 3));
      const { epoch } = await old.head();
      await driver.pass(driver.ttlMs * 3);
      const opened = await store.open('run', brief());
      expect(await opened.head()).toEqual({ epoch: expect.any(String), sequence: 0, nonce: NO_NONCE });
      expect((await opened.head()).epoch).not.toBe(epoch);
      expect((await opened.append([record('new')])).records[0]!.sequence).toBe(1);
    });

    it('tells whoever follows a log that expires, and takes nothing more through it', async () => {
      const old = await store.open('run', brief());
      const ear = new Ear();
      await old.follow(ear);
      await old.append(records(1, 3));
      await ear.until(3);
      const { epoch } = await old.head();
      await driver.pass(driver.ttlMs * 3);
      await waitFor(() => ear.resets.length > 0, { timeoutMs: 15_000 });
      expect(ear.resets).toEqual([{ epoch: expect.any(String), sequence: 0, nonce: NO_NONCE }]);
      expect(ear.resets[0]!.epoch).not.toBe(epoch);
      const opened = await store.open('run', FOREVER);
      await expect(old.append([record('late')])).rejects.toMatchObject({
        code: 'closed',
        isOutcomeKnown: true,
        message: expect.stringContaining('expired'),
      });
      expect(await recordsOf(opened)).toEqual([]);
      expect(ear.heard).toHaveLength(3);
    });

    it('does not let the app’s own log expire', async () => {
      await log.append([record(1)]);
      await driver.pass(driver.ttlMs * 3);
      expect(await recordsOf(log)).toHaveLength(1);
    });
  });
}
