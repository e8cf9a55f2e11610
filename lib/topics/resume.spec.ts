import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import * as fc from 'fast-check';
import { recordOf, ScriptedLog } from '../../test/support/apps/scripted-log.js';
import { LogTail } from '../log/index.js';
import { memory } from '../engines/memory/index.js';
import { formatPosition } from '../wire/index.js';
import { findFrom, findResume } from './resume.js';
import type { Start } from './resume.js';

const topics = (count: number) => Array.from({ length: count }, (_, n) => `t.${n % 3}`);
const listener = { onEvents: () => undefined, onReset: () => undefined };
const ALL = Infinity;

describe('where a follower begins', () => {
  let log: ScriptedLog;
  let tail: LogTail;

  beforeEach(() => {
    jest.useFakeTimers();
    log = new ScriptedLog();
  });
  afterEach(() => {
    tail.stop();
    expect(jest.getTimerCount()).toBe(0);
    jest.useRealTimers();
  });

  /** A log of so many events, of which the newest stand in the ring. */
  const start = async (count: number, ringEvents = 10) => {
    log.write(...topics(count));
    tail = new LogTail(log, { ringEvents, ringBytes: Infinity, listener });
    await tail.start();
  };
  const idOf = (sequence: number) =>
    formatPosition({ epoch: log.epoch, sequence, nonce: log.at(sequence).nonce });
  const reset = (reason: string) => ({ kind: 'reset', reason });
  /** Has the waiting for the tail take its course. */
  const waited = async (finding: Promise<Start>): Promise<Start> => {
    await jest.advanceTimersByTimeAsync(60_000);
    return finding;
  };

  describe('findResume', () => {
    it.each([
      ['at the head', 25],
      ['in the ring', 20],
      ['at the lowest event of the ring', 16],
    ])('finds an event %s without asking the log', async (_what, sequence) => {
      await start(25);
      expect(await findResume(tail, idOf(sequence), ALL)).toEqual({ kind: 'resume', sequence, from: 'ring' });
      expect(log.asked).toEqual([]);
    });

    it.each([
      ['just below the ring', 15],
      ['the first one', 1],
    ])('finds an event in the log: %s', async (_what, sequence) => {
      await start(25);
      expect(await findResume(tail, idOf(sequence), ALL)).toEqual({ kind: 'resume', sequence, from: 'log' });
    });

    it('finds the place before the first event, of an empty log and for as long as the first is held', async () => {
      await start(0);
      const id = tail.position;
      expect(await findResume(tail, id, ALL)).toEqual({ kind: 'resume', sequence: 0, from: 'ring' });
      log.write(...topics(25));
      log.tell();
      expect(await findResume(tail, id, ALL)).toEqual({ kind: 'resume', sequence: 0, from: 'log' });
      log.trim(2);
      expect(await findResume(tail, id, ALL)).toEqual(reset('trimmed'));
    });

    it('finds the head of a log that has forgotten all', async () => {
      log.write(...topics(5));
      const id = idOf(5);
      log.trim(6);
      await start(0);
      expect(await findResume(tail, id, ALL)).toEqual({ kind: 'resume', sequence: 5, from: 'ring' });
    });

    it.each<[string, string, (id: string) => string]>([
      ['no position', 'invalid', () => 'abc'],
      ['a position cut short', 'invalid', (id) => id.slice(0, -1)],
      ['another epoch', 'epoch', (id) => id.replace('one', 'two')],
      ['another nonce', 'diverged', (id) => id.replace(/-[^-]+$/, '-ffffffff')],
    ])('says reset to %s: %s', async (_what, reason, forge) => {
      await start(25);
      expect(await findResume(tail, forge(idOf(25)), ALL)).toEqual(reset(reason));
      expect(await findResume(tail, forge(idOf(20)), ALL)).toEqual(reset(reason));
      // Whether its head still stands: no page.
      expect(log.asked.every(({ from, limit }) => from === 25 && limit === 1)).toBe(true);
      expect(await findResume(tail, forge(idOf(5)), ALL)).toEqual(reset(reason));
    });

    it.each([0, 5, 25])(
      'says reset to a nonce before the first of %d events, which has none',
      async (count) => {
        await start(count);
        expect(await findResume(tail, 'one-0-ffffffff', ALL)).toEqual(reset('diverged'));
      },
    );

    it('says reset where the event was trimmed', async () => {
      await start(25);
      const [below, lowest] = [idOf(4), idOf(5)];
      log.trim(5);
      expect(await findResume(tail, below, ALL)).toEqual(reset('trimmed'));
      expect(await findResume(tail, lowest, ALL)).toEqual({ kind: 'resume', sequence: 5, from: 'log' });
    });

    it('says reset where more was missed than is replayed, without asking the log', async () => {
      await start(25);
      expect(await findResume(tail, idOf(5), 19)).toEqual(reset('limit'));
      expect(await findResume(tail, idOf(18), 6)).toEqual(reset('limit'));
      expect(log.asked).toEqual([]);
      expect(await findResume(tail, idOf(5), 20)).toEqual({ kind: 'resume', sequence: 5, from: 'log' });
      expect(await findResume(tail, idOf(18), 7)).toEqual({ kind: 'resume', sequence: 18, from: 'ring' });
    });

    it('says reset where the log was replaced, and this process does not know it yet', async () => {
      await start(25);
      const id = idOf(5);
      log.replace('two', topics(30), { silently: true });
      expect(await findResume(tail, id, ALL)).toEqual(reset('epoch'));
    });

    describe('where the log was replaced', () => {
      it('waits to hear of it, for a client that has', async () => {
        await start(25);
        log.replace('two', topics(30), { silently: true });
        const finding = findResume(tail, idOf(28), ALL);
        await jest.advanceTimersByTimeAsync(1_000);
        log.replace('two', topics(30));
        expect(await finding).toEqual({ kind: 'resume', sequence: 28, from: 'log' });
      });

      it('asks once for all who come together', async () => {
        await start(25);
        log.replace('two', topics(30), { silently: true });
        const finding = [26, 27, 28].map((sequence) => findResume(tail, idOf(sequence), ALL));
        expect(log.asked).toHaveLength(1);
        log.replace('two', topics(30));
        await Promise.all(finding);
      });

      it('fails where it does not hear of it: the client keeps its id', async () => {
        await start(25);
        log.replace('two', topics(30), { silently: true });
        const finding = findResume(tail, idOf(28), ALL).catch(({ message }: Error) => message);
        await jest.advanceTimersByTimeAsync(60_000);
        expect(await finding).toMatch('another way');
      });

      it('says reset to a client of the log that was, without asking', async () => {
        await start(25);
        const id = idOf(20);
        log.replace('two', topics(30));
        expect(await findResume(tail, id, ALL)).toEqual(reset('epoch'));
        expect(log.asked).toEqual([]);
      });
    });

    it('says reset where the log has lost more than this process has in its ring', async () => {
      await start(25);
      const id = idOf(12);
      log.replace('one', topics(8), { silently: true });
      expect(await findResume(tail, id, ALL)).toEqual(reset('regressed'));
    });

    it('fails where the log does: nothing is known then', async () => {
      await start(25);
      const id = idOf(5);
      log.failure = new Error('no log');
      await expect(findResume(tail, id, ALL)).rejects.toBe(log.failure);
      expect(await findResume(tail, idOf(20), ALL)).toMatchObject({ kind: 'resume' });
    });

    describe('ahead of the tail', () => {
      it('waits for the tail', async () => {
        await start(25);
        log.write(...topics(5));
        const finding = findResume(tail, idOf(28), ALL);
        await jest.advanceTimersByTimeAsync(1_000);
        log.tell(27);
        await jest.advanceTimersByTimeAsync(500);
        log.tell(30);
        expect(await finding).toEqual({ kind: 'resume', sequence: 28, from: 'ring' });
        expect(log.asked).toEqual([]);
      });

      it('holds on for as long as the log has the event', async () => {
        await start(25);
        log.write(...topics(5));
        const finding = findResume(tail, idOf(28), ALL);
        await jest.advanceTimersByTimeAsync(7_000);
        expect(log.asked.length).toBe(3);
        log.tell();
        expect(await finding).toEqual({ kind: 'resume', sequence: 28, from: 'ring' });
      });

      it('fails in the end where the tail does not get what the log has', async () => {
        await start(25);
        log.write(...topics(5));
        const finding = findResume(tail, idOf(28), ALL).catch((error: unknown) => String(error));
        await jest.advanceTimersByTimeAsync(60_000);
        expect(await finding).toContain('The log has event 28, and this process did not get it in time.');
      });

      it('fails where the log does', async () => {
        await start(25);
        log.failure = new Error('no log');
        const finding = findResume(tail, 'one-26-0000abcd', ALL).catch((error: unknown) => error);
        await jest.advanceTimersByTimeAsync(60_000);
        expect(await finding).toBe(log.failure);
      });

      it('says reset where the log ends before it', async () => {
        await start(25);
        expect(await waited(findResume(tail, 'one-26-0000abcd', ALL))).toEqual(reset('regressed'));
        expect(await waited(findResume(tail, 'one-9007199254740991-0000abcd', ALL))).toEqual(
          reset('regressed'),
        );
      });

      it('says reset where another event comes in its place', async () => {
        await start(25);
        log.write(...topics(5));
        const forged = idOf(28).replace(/-[^-]+$/, '-ffffffff');
        expect(await waited(findResume(tail, forged, ALL))).toEqual(reset('diverged'));
        const finding = findResume(tail, forged, ALL);
        log.tell();
        expect(await finding).toEqual(reset('diverged'));
      });

      it('says reset where the log has moved past it', async () => {
        await start(25);
        log.write(...topics(15));
        const id = idOf(28);
        log.trim(30);
        expect(await waited(findResume(tail, id, ALL))).toEqual(reset('trimmed'));
      });

      it.each([28, 29, 40])(
        'says reset where a log of %d events takes its place meanwhile',
        async (count) => {
          await start(25);
          log.write(...topics(5));
          const id = idOf(28);
          const finding = findResume(tail, id, ALL);
          log.replace('two', topics(count));
          expect(await finding).toEqual(reset('epoch'));
        },
      );

      it('says reset where the log was replaced and this process does not know it yet', async () => {
        await start(25);
        log.write(...topics(5));
        const id = idOf(28);
        log.replace('two', topics(40), { silently: true });
        expect(await waited(findResume(tail, id, ALL))).toEqual(reset('epoch'));
      });
    });
  });

  describe('findFrom', () => {
    it('now is the head', async () => {
      await start(25);
      expect(await findFrom(tail, 'now', ALL)).toEqual({ kind: 'new', sequence: 25 });
      expect(log.asked).toEqual([]);
    });

    it('earliest is before the first event that the log holds', async () => {
      await start(25);
      expect(await findFrom(tail, 'earliest', ALL)).toEqual({ kind: 'new', sequence: 0 });
      log.trim(7);
      expect(await findFrom(tail, 'earliest', ALL)).toEqual({ kind: 'new', sequence: 6 });
      log.trim(26);
      expect(await findFrom(tail, 'earliest', ALL)).toEqual({ kind: 'new', sequence: 25 });
    });

    it('earliest is the first of now, also where pages of before are kept', async () => {
      await start(1_200);
      expect(await findResume(tail, idOf(5), ALL)).toMatchObject({ from: 'log' });
      log.trim(300);
      expect(await findFrom(tail, 'earliest', ALL)).toEqual({ kind: 'new', sequence: 299 });
    });

    it('earliest of an empty log is its head', async () => {
      await start(0);
      expect(await findFrom(tail, 'earliest', ALL)).toEqual({ kind: 'new', sequence: 0 });
      expect(await findFrom(tail, { agoMs: 1_000 }, ALL)).toEqual({ kind: 'new', sequence: 0 });
    });

    it.each<[string, 'earliest' | { agoMs: number }]>([
      ['earliest', 'earliest'],
      ['a time ago', { agoMs: 1e15 }],
    ])('%s goes no further back than is replayed', async (_what, from) => {
      await start(25);
      expect(await findFrom(tail, from, 7)).toEqual({ kind: 'new', sequence: 18 });
      expect(await findFrom(tail, from, 100)).toEqual({ kind: 'new', sequence: 0 });
    });

    it('a position is as if the client had brought it', async () => {
      await start(25);
      expect(await findFrom(tail, idOf(20), ALL)).toEqual({ kind: 'resume', sequence: 20, from: 'ring' });
      expect(await findFrom(tail, idOf(5), ALL)).toEqual({ kind: 'resume', sequence: 5, from: 'log' });
      expect(await findFrom(tail, idOf(5), 3)).toEqual(reset('limit'));
      expect(await findFrom(tail, 'yesterday', ALL)).toEqual(reset('invalid'));
    });

    it.each<[string, 'earliest' | { agoMs: number }]>([
      ['earliest', 'earliest'],
      ['a time ago', { agoMs: 5 }],
    ])('%s fails where the log does', async (_what, from) => {
      await start(25);
      log.failure = new Error('no log');
      await expect(findFrom(tail, from, ALL)).rejects.toBe(log.failure);
    });

    it('looks for a time in the ring where it can', async () => {
      await start(25, 100);
      jest.setSystemTime(20);
      expect(await findFrom(tail, { agoMs: 3 }, ALL)).toEqual({ kind: 'new', sequence: 16 });
      // For the first that the log holds.
      expect(log.asked).toEqual([{ from: 1, limit: 1 }]);
    });

    it('a time ago is before the first event that is not older', async () => {
      tail = new LogTail(log, { ringEvents: 1, ringBytes: Infinity, listener });
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.nat(50), { maxLength: 60, size: 'max' }),
          fc.integer({ min: 1, max: 20 }),
          fc.integer({ min: 1, max: 20 }),
          fc.integer({ min: -10, max: 1_500 }),
          async (pauses, maxEvents, ringEvents, agoMs) => {
            jest.setSystemTime(1_000_000);
            const store = memory({ maxEvents })();
            for (const pause of pauses) {
              jest.setSystemTime(Date.now() + pause);
              await store.log.append([recordOf(0, 'a', 'e')]);
            }
            const timed = new LogTail(store.log, { ringEvents, ringBytes: Infinity, listener });
            await timed.start();
            const { records } = await store.log.page(1, Infinity);
            const since = Date.now() - agoMs;
            const first = records.find(({ time }) => time >= since)?.sequence ?? pauses.length + 1;
            expect(await findFrom(timed, { agoMs }, ALL)).toEqual({ kind: 'new', sequence: first - 1 });
            timed.stop();
            await store.close();
          },
        ),
      );
      jest.runAllTimers();
    });
  });
});
