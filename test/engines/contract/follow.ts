import { beforeEach, describe, expect, it } from '@jest/globals';
import { waitFor } from 'nestjs-event-stream/testing';
import type { EventLog, EventLogStore, LogHead, LogRecord } from '../../../lib/log/index.js';
import type { Contract } from './contract.js';
import { Ear } from './ear.js';
import { range, record, records, recordsOf, sequencesOf } from './records.js';

export function follow(contract: Contract): void {
  describe('follow', () => {
    let peer: EventLogStore;
    let store: EventLogStore;
    let log: EventLog;

    beforeEach(() => {
      ({ store, peer, log } = contract);
    });

    it('hears all that comes after the head that it is given, once and in order', async () => {
      await log.append(records(1, 3));
      const ear = new Ear();
      const { head } = await log.follow(ear);
      expect(head).toEqual(await log.head());
      for (let n = 4; n <= 40; n += 4) {
        await (n % 8 ? log : peer.log).append(records(n, n + 3));
      }
      await ear.until(43);
      expect(ear.heard).toEqual((await recordsOf(log)).slice(3));
      expect(ear.resets).toEqual([]);
    });

    it('gives the newest records, which end at the head', async () => {
      await log.append(records(1, 50));
      const { head, recent } = await log.follow(new Ear(), { recent: 10 });
      expect(head.sequence).toBe(50);
      expect(recent).toEqual((await recordsOf(log)).slice(-10));
    });

    it('gives all that the log holds where that is fewer, and none of an empty one', async () => {
      expect((await log.follow(new Ear(), { recent: 10 })).recent).toEqual([]);
      await log.append(records(1, 5));
      expect(sequencesOf((await log.follow(new Ear(), { recent: 10 })).recent)).toEqual(range(1, 5));
      expect((await log.follow(new Ear(), { recent: 0 })).recent).toEqual([]);
    });

    it('says nothing before whoever follows has the head', async () => {
      const ear = new Ear();
      const appending = log.append(records(1, 5));
      const following = log.follow(ear, { recent: 100 });
      const alsoAppending = peer.log.append(records(6, 10));
      const { head, recent } = await following;
      expect(ear.calls).toBe(0);
      expect(sequencesOf(recent)).toEqual(range(1, head.sequence));
      await Promise.all([appending, alsoAppending]);
      // On another machine all of it may have come before the head was looked at.
      if (head.sequence < 10) {
        await ear.until(10);
      }
      expect(sequencesOf(ear.heard)).toEqual(range(head.sequence + 1, 10));
    });

    it('leaves no gap and says nothing twice under a concurrent writer', async () => {
      const writer = { isWriting: true };
      let appended = 0;
      const write = async () => {
        for (let turn = 0; writer.isWriting; turn += 1) {
          // Appends fall into every moment of a follow(): now, in a microtask, in a turn to come.
          const { log: to } = turn % 2 ? store : peer;
          const appends = [to.append([record('now')]), to.append([record('now')])];
          appends.push(Promise.resolve().then(() => to.append([record('soon')])));
          await Promise.all(appends);
          appended += 3;
          if (turn % 3 === 0) {
            await new Promise((resolve) => setImmediate(resolve));
          }
        }
      };
      const writing = Promise.all([write(), write()]);
      const followers: { ear: Ear; head: LogHead; recent: readonly LogRecord[] }[] = [];
      for (let n = 0; n < 60; n += 1) {
        const ear = new Ear();
        const { head, recent } = await (n % 2 ? log : peer.log).follow(ear, { recent: 20 });
        followers.push({ ear, head, recent });
        await waitFor(() => appended > n * 5, { timeoutMs: 15_000 });
      }
      writer.isWriting = false;
      await writing;
      const { sequence } = await log.head();
      expect(sequence).toBe(appended);
      for (const { ear, head, recent } of followers) {
        await ear.until(sequence);
        expect(sequencesOf(ear.heard)).toEqual(range(head.sequence + 1, sequence));
        expect(recent.at(-1)?.sequence ?? head.sequence).toBe(head.sequence);
        expect(recent.at(-1)?.nonce ?? head.nonce).toBe(head.nonce);
      }
    });

    it('tells several listeners, each until it stops', async () => {
      const ears = [new Ear(), new Ear(), new Ear()];
      const stops = await Promise.all(ears.map(async (ear) => (await log.follow(ear)).stop));
      await log.append(records(1, 2));
      await Promise.all(ears.map((ear) => ear.until(2)));
      stops[1]!();
      stops[1]!();
      await log.append(records(3, 4));
      await ears[0]!.until(4);
      await ears[2]!.until(4);
      expect(ears.map(({ heard }) => sequencesOf(heard))).toEqual([range(1, 4), range(1, 2), range(1, 4)]);
    });

    it('tells nothing after stop(), also of what was appended before it', async () => {
      const [stopped, other] = [new Ear(), new Ear()];
      const { stop } = await log.follow(stopped);
      await log.follow(other);
      const appending = log.append(records(1, 3));
      stop();
      await appending;
      await other.until(3);
      expect(stopped.heard).toEqual([]);
    });

    it('takes stop() and follow() from within a call', async () => {
      const late = new Ear();
      const other = new Ear();
      let following: ReturnType<EventLog['follow']> | undefined;
      const { stop: stopOther } = await log.follow(other);
      const { stop } = await log.follow({
        onRecords: () => {
          stop();
          stopOther();
          following ??= log.follow(late);
        },
        onReset: () => undefined,
      });
      await log.append([record(1)]);
      await waitFor(() => following);
      const { head } = await following!;
      await log.append(records(2, 3));
      await late.until(3);
      expect(sequencesOf(late.heard)).toEqual(range(head.sequence + 1, 3));
      expect(sequencesOf(other.heard).filter((sequence) => sequence > 1)).toEqual([]);
    });

    it('never says nothing', async () => {
      const ear = new Ear();
      await log.follow(ear);
      await log.append([]);
      await log.append([record(1)]);
      await ear.until(1);
      expect(ear.calls).toBe(1);
    });
  });
}
