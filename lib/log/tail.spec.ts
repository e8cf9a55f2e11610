import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { ScriptedLog } from '../../test/support/scripted-log.js';
import { formatPosition } from '../wire/index.js';
import type { LogEvent } from './log-event.js';
import { LogTail } from './tail.js';

const topics = (count: number) => Array.from({ length: count }, (_, n) => `t.${n % 3}`);
const sequencesOf = (events: readonly LogEvent[]) => events.map(({ record }) => record.sequence);

describe('LogTail', () => {
  let log: ScriptedLog;
  let tail: LogTail;
  let heard: LogEvent[];
  let resets: number;

  beforeEach(() => {
    jest.useFakeTimers();
    log = new ScriptedLog();
    heard = [];
    resets = 0;
    tail = new LogTail(log, {
      ringEvents: 10,
      ringBytes: Infinity,
      listener: { onEvents: (events) => heard.push(...events), onReset: () => (resets += 1) },
    });
  });
  afterEach(() => {
    tail.stop();
    expect(jest.getTimerCount()).toBe(0);
    jest.useRealTimers();
  });

  const positionOf = (sequence: number) => ({ epoch: log.epoch, sequence, nonce: log.at(sequence).nonce });

  describe('start', () => {
    it('fills the ring with the newest records, which nobody is told of', async () => {
      log.write(...topics(25));
      await tail.start();
      expect([tail.epoch, tail.ring.first, tail.last]).toEqual(['one', 16, 25]);
      expect(tail.ring.at(20)!.record).toBe(log.at(20));
      expect(tail.position).toBe(formatPosition(positionOf(25)));
      expect(heard).toEqual([]);
      expect(log.recentAsked).toBe(10);
    });

    it('stands before the first record of an empty log', async () => {
      await tail.start();
      expect([tail.last, tail.position]).toEqual([0, 'one-0-00000000']);
      expect(tail.holds({ epoch: 'one', sequence: 0, nonce: '00000000' })).toBe(true);
    });

    it('stands at the head of a log that has forgotten all', async () => {
      log.write(...topics(5));
      const position = positionOf(5);
      log.trim(6);
      await tail.start();
      expect([tail.ring.first, tail.last, tail.position]).toEqual([6, 5, formatPosition(position)]);
      expect(tail.holds(position)).toBe(true);
      log.write('a');
      log.tell();
      expect([tail.ring.first, tail.last]).toEqual([6, 6]);
    });

    it('fails with what the log fails with', async () => {
      log.failure = new Error('no log');
      await expect(tail.start()).rejects.toBe(log.failure);
    });

    it('follows no more when it was stopped meanwhile', async () => {
      const release = log.hold();
      const starting = tail.start();
      tail.stop();
      release();
      await starting;
      expect(log.followers).toBe(0);
    });
  });

  it('puts what comes into the ring, and then tells of it, as the same events', async () => {
    log.write(...topics(3));
    await tail.start();
    log.write(...topics(4));
    log.tell(5);
    expect(sequencesOf(heard)).toEqual([4, 5]);
    log.tell(7);
    expect(sequencesOf(heard)).toEqual([4, 5, 6, 7]);
    for (const event of heard) {
      expect(tail.ring.at(event.record.sequence)).toBe(event);
    }
    expect(tail.position).toBe(formatPosition(positionOf(7)));
    expect(heard[0]!.position).toBe(formatPosition(positionOf(4)));
  });

  it('begins anew where the log was replaced, and tells when it has', async () => {
    log.write(...topics(5));
    await tail.start();
    let atReset: string | undefined;
    const { onReset } = tail;
    tail.onReset = (head, reason) => {
      onReset.call(tail, head, reason);
      atReset = tail.position;
    };
    log.replace('two', topics(3));
    expect(resets).toBe(1);
    expect([tail.epoch, tail.ring.first, tail.last]).toEqual(['two', 4, 3]);
    expect(atReset).toBe(formatPosition(positionOf(3)));
    log.write('a');
    log.tell();
    expect(heard.map(({ position }) => position)).toEqual([formatPosition(positionOf(4))]);
  });

  describe('pageAfter', () => {
    it('asks once for many who want the same', async () => {
      log.write(...topics(2_000));
      await tail.start();
      const release = log.hold();
      const asking = Promise.all(Array.from({ length: 100 }, () => tail.pageAfter(700)));
      const other = tail.pageAfter(701);
      release();
      const pages = await asking;
      expect(new Set(pages).size).toBe(1);
      expect(await other).not.toBe(pages[0]);
      expect(log.asked).toEqual([
        { from: 700, limit: 501 },
        { from: 701, limit: 501 },
      ]);
    });

    it('asks again later: the log may have forgotten some', async () => {
      log.write(...topics(20));
      await tail.start();
      expect((await tail.pageAfter(3)).first).toBe(1);
      log.trim(5);
      expect(await tail.pageAfter(3)).toMatchObject({ first: 5, anchor: undefined });
    });

    it('fails everyone who asked, and tries again for the next', async () => {
      log.write(...topics(20));
      await tail.start();
      log.failure = new Error('no log');
      const asked = await Promise.allSettled([tail.pageAfter(3), tail.pageAfter(3)]);
      expect(asked.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
      expect(log.asked).toHaveLength(1);
      log.failure = undefined;
      expect((await tail.pageAfter(3)).anchor!.record.sequence).toBe(3);
    });

    it('holds the event that was asked after as its anchor, then the next ones', async () => {
      log.write(...topics(2_000));
      await tail.start();
      const { epoch, anchor, events, first, head } = await tail.pageAfter(700);
      expect(anchor!.record).toEqual(log.at(700));
      expect(sequencesOf(events)).toEqual(Array.from({ length: 500 }, (_, n) => 701 + n));
      expect([epoch, first, head]).toEqual(['one', 1, 2_000]);
    });

    it('has no anchor where the log does not hold it', async () => {
      log.write(...topics(20));
      await tail.start();
      expect(await tail.pageAfter(0)).toMatchObject({ anchor: undefined, first: 1 });
      log.trim(8);
      const { anchor, events, first } = await tail.pageAfter(5);
      expect([anchor, sequencesOf(events)[0], first]).toEqual([undefined, 8, 8]);
      expect(await tail.pageAfter(21)).toMatchObject({ anchor: undefined, events: [], head: 20 });
    });

    it('shares the events of the ring, whose frames are made already, unless the log holds others', async () => {
      log.write(...topics(20));
      await tail.start();
      const { anchor, events } = await tail.pageAfter(11);
      for (const event of [anchor!, ...events]) {
        expect(event).toBe(tail.ring.at(event.record.sequence));
      }
      log.replace('two', topics(20), { silently: true });
      const page = await tail.pageAfter(11);
      expect(page.epoch).toBe('two');
      expect(page.anchor).not.toBe(tail.ring.at(11));
      expect(page.anchor!.position).toBe(formatPosition(positionOf(11)));
    });
  });

  it('knows the events of its ring, and nothing of those below', async () => {
    log.write(...topics(25));
    await tail.start();
    expect(tail.holds(positionOf(25))).toBe(true);
    expect(tail.holds(positionOf(16))).toBe(true);
    expect(tail.holds({ ...positionOf(25), nonce: 'ffffffff' })).toBe(false);
    expect(tail.holds({ ...positionOf(16), nonce: 'ffffffff' })).toBe(false);
    expect(tail.holds(positionOf(15))).toBeUndefined();
    expect(tail.holds({ ...positionOf(15), nonce: 'ffffffff' })).toBeUndefined();
  });

  describe('reaches', () => {
    it('is true at once where it has', async () => {
      log.write(...topics(5));
      await tail.start();
      expect(await tail.reaches(5, 1_000)).toBe(true);
      expect(await tail.reaches(0, 0)).toBe(true);
    });

    it('wakes each who waits when it is there', async () => {
      await tail.start();
      const woken: string[] = [];
      const wait = async (sequence: number) => {
        const isThere = await tail.reaches(sequence, 1_000);
        woken.push(`${sequence} ${isThere}`);
      };
      const waits = [wait(2), wait(1), wait(3), wait(2)];
      log.write(...topics(2));
      log.tell();
      // They go on when everyone live has been told of it.
      expect([woken, sequencesOf(heard)]).toEqual([[], [1, 2]]);
      await Promise.all([waits[0], waits[1], waits[3]]);
      expect(woken.sort()).toEqual(['1 true', '2 true', '2 true']);
      jest.advanceTimersByTime(999);
      expect(woken).toHaveLength(3);
      jest.advanceTimersByTime(1);
      await waits[2];
      expect(woken[3]).toBe('3 false');
    });

    it('counts what a replaced log brings', async () => {
      await tail.start();
      const waiting = tail.reaches(3, 1_000);
      log.replace('two', topics(5));
      expect(await waiting).toBe(true);
    });

    it('is false when the tail is stopped, before it waits or after', async () => {
      await tail.start();
      const waiting = tail.reaches(1, 1_000);
      tail.stop();
      expect(await waiting).toBe(false);
      expect(log.followers).toBe(0);
      expect(await tail.reaches(1, 1_000)).toBe(false);
    });
  });
});
