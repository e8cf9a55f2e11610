import { beforeEach, describe, expect, it } from '@jest/globals';
import { waitFor } from 'nestjs-event-stream/testing';
import type { EventLogStore } from '../../../lib/log/index.js';
import type { Contract } from './contract.js';
import { inTime } from './in-time.js';
import { FOREVER, HOUR_MS, range, record, records, recordsOf, unaware } from './records.js';

export function lease(contract: Contract): void {
  describe('lease', () => {
    let store: EventLogStore;
    let peer: EventLogStore;
    const { driver } = contract;

    beforeEach(() => {
      ({ store, peer } = contract);
    });

    const brief = () => ({ ttlMs: driver.ttlMs });
    const long = { ttlMs: HOUR_MS };

    it('is held by one, wherever the others ask', async () => {
      const lease = await store.lease('run', long);
      expect(lease!.signal.aborted).toBe(false);
      expect(await store.lease('run', long)).toBeUndefined();
      expect(await peer.lease('run', long)).toBeUndefined();
      expect(await peer.lease('another run', long)).toBeDefined();
    });

    it('is given to one of many who ask at once', async () => {
      const asked = await Promise.all(
        range(1, 20).map((n) => (n % 2 ? store : peer).lease('run', { ttlMs: HOUR_MS })),
      );
      expect(asked.filter(Boolean)).toHaveLength(1);
    });

    it('can be had after release(), with a higher token each time', async () => {
      const tokens: number[] = [];
      for (let n = 0; n < 10; n += 1) {
        const lease = await (n % 2 ? store : peer).lease('run', long);
        tokens.push(lease!.token);
        await lease!.release();
        expect(lease!.signal.aborted).toBe(true);
        expect(await lease!.renew()).toBe(false);
      }
      expect(tokens).toEqual([...new Set(tokens)].sort((a, b) => a - b));
    });

    it('aborts its signal when it is not renewed, and goes to the next who asks', async () => {
      const lease = await store.lease('run', brief());
      await driver.pass(driver.ttlMs * 3);
      await waitFor(() => lease!.signal.aborted, { timeoutMs: 15_000 });
      const next = await peer.lease('run', long);
      expect(next!.token).toBeGreaterThan(lease!.token);
      expect(await lease!.renew()).toBe(false);
      expect(await store.lease('run', long)).toBeUndefined();
    });

    it('lasts for as long as it is renewed', async () => {
      await inTime(driver, async (name, pass) => {
        const lease = await store.lease(name, brief());
        for (let n = 0; n < 4; n += 1) {
          await pass(0.6);
          expect(await lease!.renew()).toBe(true);
        }
        expect(lease!.signal.aborted).toBe(false);
        expect(await peer.lease(name, long)).toBeUndefined();
      });
    });

    it('is not taken from a newer holder by the release() of an older one', async () => {
      const old = await store.lease('run', brief());
      await driver.pass(driver.ttlMs * 3);
      const next = await peer.lease('run', long);
      await old!.release();
      await old!.release();
      expect(next!.signal.aborted).toBe(false);
      expect(await next!.renew()).toBe(true);
      expect(await store.lease('run', long)).toBeUndefined();
    });

    it('lets its holder append', async () => {
      const run = await store.open('run', FOREVER);
      const lease = await store.lease('run', long);
      const { records: appended } = await run.append(records(1, 2), { lease });
      expect(await recordsOf(run)).toEqual(appended);
    });

    const refused = { code: 'lease-lost', isOutcomeKnown: true };

    it.each(['released', 'expired'])('that was %s appends nothing', async (how) => {
      const run = await store.open('run', FOREVER);
      const lease = await store.lease('run', brief());
      await (how === 'released' ? lease!.release() : driver.pass(driver.ttlMs * 3));
      await waitFor(() => lease!.signal.aborted, { timeoutMs: 15_000 });
      await expect(run.append([record(1)], { lease })).rejects.toMatchObject(refused);
      expect(await recordsOf(run)).toEqual([]);
    });

    it.each(['before', 'after'])(
      'fences an older holder that has not noticed, on a log that was opened %s it',
      async (when) => {
        const early = when === 'before' ? await store.open('run', FOREVER) : undefined;
        const old = (await store.lease('run', long))!;
        await early?.append([record('old')], { lease: old });
        await old.release();
        const next = (await peer.lease('run', long))!;
        const run = early ?? (await store.open('run', FOREVER));
        const before = (await recordsOf(run)).length;
        await expect(run.append([record('late')], { lease: unaware(old) })).rejects.toMatchObject(refused);
        await run.append([record('next')], { lease: next });
        await expect(run.append([record('late')], { lease: unaware(old) })).rejects.toMatchObject(refused);
        expect((await recordsOf(run)).slice(before).map(({ data }) => data)).toEqual(['"next"']);
      },
    );

    it('fences older holders also once its own is over', async () => {
      const early = await store.open('run', FOREVER);
      const old = (await store.lease('run', long))!;
      await old.release();
      const next = (await peer.lease('run', long))!;
      await early.append([record('next')], { lease: next });
      await next.release();
      await expect(early.append([record('late')], { lease: unaware(old) })).rejects.toMatchObject(refused);
      expect(await recordsOf(await peer.open('run', FOREVER))).toHaveLength(1);
    });

    it('fences nothing of logs of other names', async () => {
      const run = await store.open('run', FOREVER);
      const lease = await store.lease('run', long);
      await store.lease('another run', long);
      await run.append([record(1)], { lease });
      expect(await recordsOf(run)).toHaveLength(1);
    });
  });
}
