import { beforeEach, describe, expect, it } from '@jest/globals';
import type { EventLog, EventLogStore, LogRecord } from '../../../lib/log/index.js';
import type { Contract } from './contract.js';
import { Ear } from './ear.js';
import { HOUR_MS, NO_NONCE, NONCE, range, record, records, recordsOf, sequencesOf } from './records.js';

export function append(contract: Contract): void {
  describe('append', () => {
    let peer: EventLogStore;
    let store: EventLogStore;
    let log: EventLog;

    beforeEach(() => {
      ({ store, peer, log } = contract);
    });

    it('numbers records from 1 on, without a gap, in the order of the appends', async () => {
      for (let n = 1; n <= 20; n += 1) {
        await log.append([record(n)]);
      }
      const kept = await recordsOf(log);
      expect(sequencesOf(kept)).toEqual(range(1, 20));
      expect(kept.map(({ data }) => data)).toEqual(range(1, 20).map(String));
    });

    it('keeps the order of records that are appended together', async () => {
      await log.append(records(1, 300));
      expect((await recordsOf(log)).map(({ data }) => data)).toEqual(range(1, 300).map(String));
    });

    it('returns the records as the log has them, with its epoch', async () => {
      const before = Date.now();
      const { epoch, records: appended } = await log.append([
        { topic: 'orders.1', type: 'created', data: '{"total":5}', isJson: true },
        { topic: 'notes', data: 'text', isJson: false },
      ]);
      expect(epoch).toBe((await log.head()).epoch);
      expect(appended).toEqual(await recordsOf(log));
      expect(appended).toEqual([
        {
          topic: 'orders.1',
          type: 'created',
          data: '{"total":5}',
          isJson: true,
          sequence: 1,
          nonce: expect.stringMatching(NONCE),
          time: expect.any(Number),
        },
        {
          topic: 'notes',
          data: 'text',
          isJson: false,
          sequence: 2,
          nonce: expect.stringMatching(NONCE),
          time: expect.any(Number),
        },
      ]);
      // Another machine's clock may have taken the time.
      expect(Math.abs(appended[0]!.time - before)).toBeLessThan(HOUR_MS);
    });

    it.each([
      ['nothing', ''],
      ['line breaks of every kind', 'a\nb\r\nc\rd\n'],
      ['controls and a NUL', '\0\u0001\u001f\u007f'],
      ['characters of every length in UTF-8', 'aé€😀\u2028\ufeff'],
      ['what looks like a number', '0010'],
      ['what looks like a protocol', '$-1\r\n*0\r\n:1\r\n{"a":1}'],
      ['a megabyte', 'x😀'.repeat(200_000)],
    ])('keeps text of %s as it is, and hands it to followers so', async (_what, data) => {
      const ear = new Ear();
      await peer.log.follow(ear);
      const { records: appended } = await log.append([
        { topic: '!a.*~', type: 'ty pe', data, isJson: false },
      ]);
      await ear.until(1);
      expect(ear.heard[0]).toEqual(appended[0]);
      expect(ear.heard[0]!.data === data).toBe(true);
      expect((await recordsOf(log))[0]).toEqual(appended[0]);
    });

    it('does not look at the objects again that it was given', async () => {
      const given = { topic: 'a', data: '1', isJson: true };
      const appending = log.append([given]);
      given.data = '2';
      await appending;
      given.data = '3';
      expect((await recordsOf(log))[0]!.data).toBe('1');
    });

    it('numbers concurrent appends of several processes without a gap, each batch in its order', async () => {
      const batches = await Promise.all(
        range(1, 60).map(async (batch) => {
          const { log: writer } = batch % 2 ? store : peer;
          const list = records(1, 1 + (batch % 5)).map(({ data }) => record([batch, Number(data)]));
          return (await writer.append(list)).records;
        }),
      );
      const kept = await recordsOf(log);
      expect(sequencesOf(kept)).toEqual(range(1, kept.length));
      const bySequence = (a: LogRecord, b: LogRecord) => a.sequence - b.sequence;
      expect(batches.flat().sort(bySequence)).toEqual(kept);
      for (const batch of batches) {
        expect(batch.map(({ data }) => (JSON.parse(data) as number[])[1])).toEqual(range(1, batch.length));
        expect(sequencesOf(batch)).toEqual([...batch].sort(bySequence).map(({ sequence }) => sequence));
      }
    });

    it('gives each record a nonce of its own, never that of the place before the first', async () => {
      await log.append(records(1, 1_000));
      const nonces = (await recordsOf(log)).map(({ nonce }) => nonce);
      expect(nonces.every((nonce) => NONCE.test(nonce) && nonce !== NO_NONCE)).toBe(true);
      // Of 32 random bits two may be equal once in 8,000 runs; three pairs are no chance.
      expect(new Set(nonces).size).toBeGreaterThan(997);
    });

    it('takes an empty list for nothing', async () => {
      await log.append([record(1)]);
      expect(await log.append([])).toEqual({ epoch: (await log.head()).epoch, records: [] });
      expect((await log.head()).sequence).toBe(1);
    });
  });
}
