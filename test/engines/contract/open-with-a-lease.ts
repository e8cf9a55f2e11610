import { beforeEach, describe, expect, it } from '@jest/globals';
import { waitFor } from 'nestjs-event-stream/testing';
import type { EventLogStore } from '../../../lib/log/index.js';
import type { Contract } from './contract.js';
import { Ear } from './ear.js';
import { FOREVER, HOUR_MS, range, record, records, recordsOf, sequencesOf, unaware } from './records.js';

export function openWithALease(contract: Contract): void {
  describe('open with a lease', () => {
    let store: EventLogStore;
    let peer: EventLogStore;
    const { driver } = contract;

    beforeEach(() => {
      ({ store, peer } = contract);
    });

    const long = { ttlMs: HOUR_MS };
    const lost = { code: 'lease-lost', isOutcomeKnown: true };
    const over = { code: 'closed' };

    it.each(['where there is none', 'in place of one'])('begins a log %s', async (where) => {
      const old = where === 'in place of one' ? await peer.open('run', FOREVER) : undefined;
      await old?.append(records(1, 3));
      const before = await old?.head();
      const lease = (await store.lease('run', long))!;
      const run = await store.open('run', { ...FOREVER, lease });
      const { epoch } = await run.head();
      expect(epoch).not.toBe(before?.epoch);
      expect(await run.page(0, 10)).toEqual({ epoch, records: [], first: 1, head: 0 });
      const { records: appended } = await run.append([record('new')], { lease });
      expect(sequencesOf(appended)).toEqual([1]);
      expect(await recordsOf(await peer.open('run', FOREVER))).toEqual(appended);
      const found = await peer.find('run', { from: 1, limit: 10 });
      expect(found!.page).toEqual({ epoch, records: appended, first: 1, head: 1 });
    });

    it('begins one anew each time, also for the same holder', async () => {
      const lease = (await store.lease('run', long))!;
      const epochs = new Set<string>();
      for (let n = 1; n <= 5; n += 1) {
        const run = await store.open('run', { ...FOREVER, lease });
        await run.append(records(1, n), { lease });
        expect(await recordsOf(run)).toHaveLength(n);
        epochs.add((await run.head()).epoch);
      }
      expect(epochs.size).toBe(5);
    });

    it('tells whoever follows the old log, wherever, and tells it nothing of the new one', async () => {
      const logs = [await store.open('run', FOREVER), await peer.open('run', FOREVER)];
      const ears = [new Ear(), new Ear()];
      await Promise.all(logs.map((old, index) => old.follow(ears[index]!)));
      await logs[0]!.append(records(1, 3));
      await Promise.all(ears.map((ear) => ear.until(3)));
      const { epoch } = await logs[0]!.head();
      const lease = (await peer.lease('run', long))!;
      const run = await peer.open('run', { ...FOREVER, lease });
      const newEar = new Ear();
      await run.follow(newEar);
      await run.append([record('new'), ...records(1, 9)], { lease });
      await waitFor(() => ears.every(({ resets }) => resets.length > 0), { timeoutMs: 15_000 });
      await run.append([record('more')], { lease });
      await newEar.until(11);
      expect(newEar.heard).toEqual(await recordsOf(run));
      for (const ear of ears) {
        expect(ear.reasons).toEqual(['epoch']);
        expect(ear.resets[0]!.epoch).not.toBe(epoch);
        expect(ear.heard.map(({ data }) => data)).toEqual(['1', '2', '3']);
      }
    });

    it('takes nothing more through the old log, wherever it was had', async () => {
      const logs = [await store.open('run', FOREVER), await peer.open('run', FOREVER)];
      await logs[0]!.append([record(1)]);
      const lease = (await store.lease('run', long))!;
      const run = await store.open('run', { ...FOREVER, lease });
      for (const old of logs) {
        await expect(old.append([record('late')])).rejects.toMatchObject({ ...over, isOutcomeKnown: true });
        await expect(old.append([record('late')], { lease })).rejects.toMatchObject(over);
        await expect(old.page(1, 10)).rejects.toMatchObject(over);
        await expect(old.head()).rejects.toMatchObject(over);
        await expect(old.follow(new Ear())).rejects.toMatchObject(over);
      }
      expect(await recordsOf(run)).toEqual([]);
    });

    it('keeps what is appended to the old log out of the new one, under writers that go on', async () => {
      for (let round = 1; round <= 5; round += 1) {
        const name = `run ${round}`;
        const old = await peer.open(name, FOREVER);
        const oldEar = new Ear();
        await old.follow(oldEar);
        let taken = 0;
        const write = async () => {
          for (;;) {
            taken += (await old.append([record('old'), record('old')])).records.length;
          }
        };
        const writing = Promise.allSettled([write(), write()]);
        await waitFor(() => taken > 20, { timeoutMs: 15_000 });
        const lease = (await store.lease(name, long))!;
        const run = await store.open(name, { ...FOREVER, lease });
        const ear = new Ear();
        const { recent } = await run.follow(ear, { recent: 100 });
        await run.append([record('new')], { lease });
        await ear.until(1);
        expect(await writing).toEqual([
          expect.objectContaining({ reason: expect.objectContaining(over) }),
          expect.objectContaining({ reason: expect.objectContaining(over) }),
        ]);
        await waitFor(() => oldEar.resets.length > 0, { timeoutMs: 15_000 });
        expect(recent).toEqual([]);
        expect([...ear.heard, ...(await recordsOf(run))].map(({ data }) => data)).toEqual(['"new"', '"new"']);
        expect(sequencesOf(oldEar.heard)).toEqual(range(1, oldEar.heard.length));
        expect(oldEar.heard.filter(({ data }) => data !== '"old"')).toEqual([]);
      }
    });

    it('is refused to a holder whose lease another has by now, and leaves all as it was', async () => {
      const old = (await store.lease('run', long))!;
      const early = await store.open('run', { ...FOREVER, lease: old });
      await early.append(records(1, 3), { lease: old });
      const ear = new Ear();
      const { head } = await early.follow(ear);
      await old.release();
      const next = (await peer.lease('run', long))!;
      await expect(store.open('run', { ...FOREVER, lease: unaware(old) })).rejects.toMatchObject(lost);
      expect(await early.head()).toEqual(head);
      await early.append([record(4)], { lease: next });
      await ear.until(4);
      expect(ear.resets).toEqual([]);
    });

    it.each([
      ['released', 'makes nothing'],
      ['had by another', 'makes nothing'],
      ['released', 'ends nothing'],
      ['had by another', 'ends nothing'],
    ])('for a lease that was %s %s', async (what, outcome) => {
      const old = (await store.lease('run', long))!;
      const run = outcome === 'ends nothing' ? await store.open('run', FOREVER) : undefined;
      await old.release();
      if (what === 'had by another') {
        await (await peer.lease('run', long))!.release();
      }
      await expect(store.open('run', { ...FOREVER, lease: old })).rejects.toMatchObject(lost);
      const found = await peer.find('run', { from: 1, limit: 1 });
      expect(found?.page.epoch).toBe((await run?.head())?.epoch);
    });

    it('fences older holders from the new log', async () => {
      const old = (await store.lease('run', long))!;
      await store.open('run', { ...FOREVER, lease: old });
      await old.release();
      const next = (await peer.lease('run', long))!;
      const run = await peer.open('run', { ...FOREVER, lease: next });
      const same = await store.open('run', FOREVER);
      for (const each of [run, same]) {
        await expect(each.append([record('late')], { lease: unaware(old) })).rejects.toMatchObject(lost);
      }
      await run.append([record('next')], { lease: next });
      expect((await recordsOf(same)).map(({ data }) => data)).toEqual(['"next"']);
    });

    it('gives the new log a life of its own', async () => {
      const brief = { maxEvents: 100, ttlMs: driver.ttlMs };
      await store.open('longer', brief);
      await store.open('shorter', FOREVER);
      const leases = [await store.lease('longer', long), await store.lease('shorter', long)];
      const longer = await store.open('longer', { ...FOREVER, lease: leases[0] });
      await store.open('shorter', { ...brief, lease: leases[1] });
      const { epoch } = await longer.head();
      await driver.pass(driver.ttlMs * 1.5);
      expect((await peer.find('longer', { from: 1, limit: 1 }))!.page.epoch).toBe(epoch);
      expect(await peer.find('shorter', { from: 1, limit: 1 })).toBeUndefined();
    });
  });
}
