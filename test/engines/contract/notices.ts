import { beforeEach, describe, expect, it } from '@jest/globals';
import { waitFor } from 'nestjs-event-stream/testing';
import type { EventLogStore, NamedLog, NewRecord } from '../../../lib/log/index.js';
import type { Contract } from './contract.js';
import { FOREVER, HOUR_MS, range, record, recordsOf } from './records.js';

export function notices(contract: Contract): void {
  describe('notices', () => {
    let store: EventLogStore;
    let peer: EventLogStore;

    beforeEach(() => {
      ({ store, peer } = contract);
    });

    const notice = (data: unknown): NewRecord => ({
      topic: 'notice',
      data: JSON.stringify(data),
      isJson: true,
    });
    /** All that a log's listeners are told: beside its or as one of them. */
    const listenTo = async (run: NamedLog) => {
      const received: number[] = [];
      const receive = ({ topic, data }: NewRecord) => {
        if (topic === 'notice') {
          received.push(Number(data));
        }
      };
      const { stop } = await run.follow({
        onRecords: (list) => list.forEach(receive),
        onReset: () => undefined,
      });
      const stopNotices = await run.onNotice(receive);
      return { received, stop: () => [stop, stopNotices].forEach((each) => each()) };
    };
    const untilReceived = (received: readonly number[], last: number) =>
      waitFor(() => received.at(-1) === last, {
        timeoutMs: 15_000,
        describe: () => `notice ${last}, after ${JSON.stringify(received)}`,
      });

    it('come to a listener in another process while the holder of the lease appends without a pause', async () => {
      const run = await store.open('run', FOREVER);
      const lease = (await store.lease('run', { ttlMs: HOUR_MS }))!;
      const { received } = await listenTo(run);
      const elsewhere = (await peer.find('run', { from: 1, limit: 0 }))!.log;
      const appending = { goesOn: true };
      const writing = (async () => {
        for (let n = 1; appending.goesOn; n += 1) {
          await run.append([record(n)], { lease });
        }
      })();
      for (const n of range(1, 20)) {
        await elsewhere.notify('key', notice(n));
      }
      await untilReceived(received, 20);
      appending.goesOn = false;
      await writing;
      expect([...new Set(received)]).toEqual(range(1, 20));
    });

    it('are in no one’s way, and change nothing about the lease', async () => {
      const run = await store.open('run', FOREVER);
      const lease = (await store.lease('run', { ttlMs: HOUR_MS }))!;
      await run.append([record(1)], { lease });
      await (await peer.open('run', FOREVER)).notify('key', notice(1));
      const { records: appended } = await run.append([record(2)], { lease });
      expect(appended).toHaveLength(1);
      expect((await recordsOf(run)).filter(({ topic }) => topic === 'a')).toHaveLength(2);
    });

    it('are kept for a listener that comes later, the newest of each key', async () => {
      const run = await store.open('run', FOREVER);
      for (const n of range(1, 3)) {
        await run.notify('one', notice(n));
      }
      await run.notify('other', notice(4));
      const kept: number[] = [];
      await (await peer.open('run', FOREVER)).onNotice(({ data }) => void kept.push(Number(data)));
      const asRecords = (await recordsOf(run)).map(({ data }) => Number(data));
      expect(asRecords.length > 0 ? asRecords : kept.sort((a, b) => a - b)).toEqual(
        asRecords.length > 0 ? range(1, 4) : [3, 4],
      );
      const last = await run.lastNotice('one');
      expect(asRecords.length > 0 ? last : Number(last!.data)).toEqual(asRecords.length > 0 ? undefined : 3);
      expect(await run.lastNotice('none')).toBeUndefined();
    });

    it('are about one log: another that takes its place, or has another name, has none of them', async () => {
      const run = await store.open('run', FOREVER);
      await run.notify('key', notice(1));
      const lease = (await store.lease('run', { ttlMs: HOUR_MS }))!;
      const next = await store.open('run', { ...FOREVER, lease });
      const other = await store.open('run.other', FOREVER);
      const heard = [await listenTo(next), await listenTo(other)];
      await next.notify('key', notice(2));
      await untilReceived(heard[0]!.received, 2);
      expect(heard.map(({ received }) => received)).toEqual([[2], []]);
      expect(await other.lastNotice('key')).toBeUndefined();
      await expect(run.notify('key', notice(3))).rejects.toMatchObject({ code: 'closed' });
    });

    it('come no more to a listener that was removed, or whose store is closed', async () => {
      const run = await store.open('run', FOREVER);
      const [stopped, kept] = [await listenTo(run), await listenTo(run)];
      stopped.stop();
      await run.notify('key', notice(1));
      await untilReceived(kept.received, 1);
      await store.close();
      expect(stopped.received).toEqual([]);
      await expect(run.notify('key', notice(2))).rejects.toMatchObject({ code: 'closed' });
    });

    it('take keys and names of any characters and length for what they are', async () => {
      const names = ['x', '漢'.repeat(440), '漢'.repeat(441), `${'a'.repeat(4_000)}.b`, 'run:*.>'];
      for (const [index, name] of names.entries()) {
        const run = await store.open(name, FOREVER);
        await run.append([record(index)]);
        await run.notify(name, notice(index));
      }
      for (const [index, name] of names.entries()) {
        const found = (await peer.find(name, { from: 1, limit: 10 }))!;
        expect(found.page.records.map(({ data }) => Number(data))[0]).toBe(index);
        expect((await peer.lease(name, { ttlMs: HOUR_MS }))?.token).toBeGreaterThan(0);
        const { received } = await listenTo(found.log);
        await found.log.notify(name, notice(100 + index));
        await untilReceived(received, 100 + index);
      }
    });
  });
}
