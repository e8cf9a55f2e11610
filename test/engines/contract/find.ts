import { beforeEach, describe, expect, it } from '@jest/globals';
import { waitFor } from 'nestjs-event-stream/testing';
import type { EventLogStore } from '../../../lib/log/index.js';
import type { Contract } from './contract.js';
import { inTime } from './in-time.js';
import { Ear } from './ear.js';
import {
  FOREVER,
  HOUR_MS,
  NO_NONCE,
  range,
  record,
  records,
  recordsOf,
  sequencesOf,
  unaware,
} from './records.js';

export function find(contract: Contract): void {
  describe('find', () => {
    let store: EventLogStore;
    let peer: EventLogStore;
    const { driver } = contract;

    beforeEach(() => {
      ({ store, peer } = contract);
    });

    const brief = () => ({ maxEvents: 10, ttlMs: driver.ttlMs });
    const page = { from: 1, limit: 100 };

    it('finds nothing where nobody has opened a log, and makes nothing', async () => {
      for (const each of [store, peer]) {
        // What an engine makes once, for all logs, it may make now.
        await each.find('another run', page);
      }
      const before = await driver.held?.();
      for (const each of [store, peer]) {
        expect(await each.find('run', page)).toBeUndefined();
        expect(await each.find('run', { from: 1, limit: 0 })).toBeUndefined();
      }
      expect(await driver.held?.()).toEqual(before);
      const opened = await peer.open('run', FOREVER);
      expect(await opened.head()).toEqual({ epoch: expect.any(String), sequence: 0, nonce: NO_NONCE });
      expect((await store.find('run', page))!.page.epoch).toBe((await opened.head()).epoch);
    });

    it.each([
      ['all', 1, 100, range(1, 30)],
      ['some of it', 11, 5, range(11, 15)],
      ['from below the first', 0, 2, [1, 2]],
      ['one past the head', 31, 10, []],
      ['no records', 1, 0, []],
    ])('gives the page that is asked for: %s', async (_what, from, limit, expected) => {
      const run = await store.open('run', FOREVER);
      await run.append(records(1, 30));
      const { epoch } = await run.head();
      for (const each of [store, peer]) {
        const found = (await each.find('run', { from, limit }))!;
        expect(sequencesOf(found.page.records)).toEqual(expected);
        expect(found.page).toEqual({ epoch, records: found.page.records, first: 1, head: 30 });
        expect(found.page.records).toEqual(
          (await recordsOf(run)).filter(({ sequence }) => expected.includes(sequence)),
        );
      }
    });

    it('finds a log that has never held anything', async () => {
      const { epoch } = await (await store.open('run', FOREVER)).head();
      for (const each of [store, peer]) {
        expect((await each.find('run', page))!.page).toEqual({ epoch, records: [], first: 1, head: 0 });
      }
    });

    it('gives a log that can be appended to, followed and paged, wherever it was opened', async () => {
      const run = await store.open('run', FOREVER);
      const [theirs, mine] = [(await peer.find('run', page))!.log, (await store.find('run', page))!.log];
      const ears = [new Ear(), new Ear(), new Ear()];
      await Promise.all([run, theirs, mine].map((each, index) => each.follow(ears[index]!)));
      await theirs.append([record(1)]);
      await mine.append([record(2)]);
      await run.append([record(3)]);
      await Promise.all(ears.map((ear) => ear.until(3)));
      const kept = await recordsOf(run);
      expect(kept.map(({ data }) => data)).toEqual(['1', '2', '3']);
      expect(ears.map(({ heard }) => heard)).toEqual([kept, kept, kept]);
      expect([await recordsOf(theirs), await recordsOf(mine)]).toEqual([kept, kept]);
      expect([await theirs.head(), await mine.head()]).toEqual([await run.head(), await run.head()]);
    });

    it('finds many times at once what a process has not had before', async () => {
      const run = await store.open('run', FOREVER);
      await run.append(records(1, 3));
      const found = await Promise.all(range(1, 20).map(() => peer.find('run', page)));
      expect(found.map((each) => each!.page)).toEqual(found.map(() => found[0]!.page));
      expect(found[0]!.page.records).toEqual(await recordsOf(run));
    });

    it('keeps the limits with which the log was opened, until it has expired', async () => {
      await inTime(driver, async (name, pass) => {
        await store.open(name, brief());
        const { log: run } = (await peer.find(name, page))!;
        for (let from = 1; from <= 1_000; from += 50) {
          await run.append(records(from, from + 49));
        }
        const kept = await recordsOf(run);
        expect(kept.length).toBeGreaterThanOrEqual(10);
        expect(kept.length).toBeLessThanOrEqual(driver.mostOfTen);
        const found = await store.find(name, { from: 1, limit: 3 });
        expect(found!.page).toMatchObject({ head: 1_000, first: kept[0]!.sequence });
        expect(found!.page.records).toEqual(kept.slice(0, 3));
        await pass(1.5);
        for (const each of [store, peer]) {
          expect(await each.find(name, page)).toBeUndefined();
        }
        expect(await recordsOf(await store.open(name, brief()))).toEqual([]);
      });
    });

    it('has nothing live longer', async () => {
      await store.open('run', brief());
      for (const part of [0.3, 0.3, 0.6]) {
        await Promise.all([store, peer].map((each) => each.find('run', page)));
        await driver.pass(driver.ttlMs * part);
      }
      expect([await store.find('run', page), await peer.find('run', page)]).toEqual([undefined, undefined]);
    });

    it('finds the one or the other, whole, where a log takes the place of another meanwhile', async () => {
      for (let round = 1; round <= 10; round += 1) {
        const name = `run ${round}`;
        const old = await store.open(name, FOREVER);
        await old.append(records(1, 3));
        const { epoch } = await old.head();
        const lease = (await peer.lease(name, { ttlMs: HOUR_MS }))!;
        const [run, ...found] = await Promise.all([
          peer.open(name, { ...FOREVER, lease }),
          ...[peer, peer, store].map((each) => each.find(name, page)),
        ]);
        for (const each of found) {
          const isOld = each!.page.epoch === epoch;
          expect([each!.page.head, sequencesOf(each!.page.records)]).toEqual(
            isOld ? [3, [1, 2, 3]] : [0, []],
          );
        }
        await run.append([record('new')], { lease });
        expect((await store.find(name, page))!.page.records).toEqual(await recordsOf(run));
      }
    });

    it('finds nothing that has expired, also where its lease was taken since', async () => {
      const run = await peer.open('run', brief());
      await run.append(records(1, 3));
      if (peer !== store) {
        // Nobody is left who looks whether it has expired.
        await peer.close();
      }
      await driver.pass(driver.ttlMs * 1.5);
      await store.lease('run', { ttlMs: HOUR_MS });
      expect(await store.find('run', page)).toBeUndefined();
      expect(await recordsOf(await store.open('run', brief()))).toEqual([]);
    });

    it('finds the log that has taken the place of another, and ends the other', async () => {
      const lease = (await store.lease('run', { ttlMs: HOUR_MS }))!;
      const old = await store.open('run', { ...FOREVER, lease });
      await old.append(records(1, 3), { lease });
      const { log: foundOld } = (await peer.find('run', page))!;
      const ear = new Ear();
      await foundOld.follow(ear);
      const run = await store.open('run', { ...FOREVER, lease });
      const { records: appended } = await run.append([record('new')], { lease });
      const found = (await peer.find('run', page))!;
      expect(found.page).toEqual({ epoch: (await run.head()).epoch, records: appended, first: 1, head: 1 });
      await waitFor(() => ear.resets.length > 0, { timeoutMs: 15_000 });
      expect([ear.reasons, ear.heard]).toEqual([['epoch'], []]);
      await expect(foundOld.append([record('late')])).rejects.toMatchObject({ code: 'closed' });
      await found.log.append([record('more')], { lease: unaware(lease) });
      expect(await recordsOf(run)).toHaveLength(2);
    });
  });
}
