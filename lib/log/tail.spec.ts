import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { ScriptedLog } from '../../test/support/apps/scripted-log.js';
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
      listener: { onEvents: (events) => void heard.push(...events), onReset: () => (resets += 1) },
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
    /** Reads on from a place until the ring goes on from there, as a client does. */
    const readToRing = async (sequence: number) => {
      let cursor = sequence;
      while (cursor < tail.ring.first - 1) {
        const { events } = await tail.pageAfter(cursor);
        expect(events[0]!.record.sequence).toBe(cursor + 1);
        cursor = events.at(-1)!.record.sequence;
      }
      return cursor;
    };
    const startWith = async (count: number, options: { ringEvents?: number; ringBytes?: number } = {}) => {
      log.write(...topics(count));
      const listener = { onEvents: () => undefined, onReset: () => undefined };
      tail = new LogTail(log, { ringEvents: 10, ringBytes: Infinity, listener, ...options });
      await tail.start();
    };
    const weightOf = (events: readonly LogEvent[]) => events.reduce((sum, { weight }) => sum + weight, 0);

    it('asks once for all who want the same block, wherever in it they are', async () => {
      await startWith(2_000);
      const release = log.hold();
      const asking = Promise.all([700, 700, 500, 999, 1_000].map((sequence) => tail.pageAfter(sequence)));
      release();
      const pages = await asking;
      expect(log.asked).toEqual([
        { from: 500, limit: 501 },
        { from: 1_000, limit: 501 },
      ]);
      expect(pages.map(({ anchor, events }) => [anchor!.record.sequence, events.length])).toEqual([
        [700, 300],
        [700, 300],
        [500, 500],
        [999, 1],
        [1_000, 500],
      ]);
      expect(pages[0]!.events[0]).toBe(pages[1]!.events[0]);
    });

    it('asks less than 50 times for 5,000 clients that are spread over 20,000 events', async () => {
      await startWith(30_000, { ringEvents: 10_000 });
      const places = Array.from({ length: 5_000 }, (_, n) => n * 4);
      const reached = await Promise.all(places.map((sequence) => readToRing(sequence)));
      expect(new Set(reached)).toEqual(new Set([20_000]));
      expect(log.asked.length).toBeLessThan(50);
    });

    it('keeps a block for two seconds after it was last used, with one timer', async () => {
      await startWith(2_000);
      await readToRing(0);
      expect(log.asked.map(({ from }) => from)).toEqual([1, 500, 1_000, 1_500]);
      expect(jest.getTimerCount()).toBe(1);
      jest.advanceTimersByTime(1_900);
      await tail.pageAfter(600);
      expect(log.asked).toHaveLength(4);
      jest.advanceTimersByTime(1_999);
      await tail.pageAfter(700);
      expect(log.asked).toHaveLength(4);
      await tail.pageAfter(100);
      expect(log.asked.splice(0)).toHaveLength(5);
      jest.advanceTimersByTime(2_000);
      expect(jest.getTimerCount()).toBe(0);
      await tail.pageAfter(700);
      expect(log.asked).toEqual([{ from: 500, limit: 501 }]);
    });

    it('serves from a kept block what the log has forgotten since, and asks what it holds', async () => {
      await startWith(2_000);
      const before = await tail.pageAfter(3);
      expect(await tail.firstHeld()).toBe(1);
      log.trim(800);
      const asked = log.asked.length;
      expect(await tail.pageAfter(3)).toEqual(before);
      expect(log.asked).toHaveLength(asked);
      expect(await Promise.all([tail.firstHeld(), tail.firstHeld()])).toEqual([800, 800]);
      expect(log.asked).toHaveLength(asked + 1);
      const { anchor, events, first } = await tail.pageAfter(600);
      expect([anchor, events[0]!.record.sequence, first]).toEqual([undefined, 800, 800]);
    });

    it('keeps no block that ends at the head', async () => {
      await startWith(700);
      expect(sequencesOf((await tail.pageAfter(698)).events)).toEqual([699, 700]);
      expect(jest.getTimerCount()).toBe(0);
      log.write('a');
      expect(sequencesOf((await tail.pageAfter(698)).events)).toEqual([699, 700, 701]);
    });

    it('asks again, once, for those who want more than what another has asked for before', async () => {
      await startWith(700);
      const release = log.holdPages();
      const first = tail.pageAfter(600);
      await jest.advanceTimersByTimeAsync(0);
      log.write(...topics(200));
      const late = [700, 750, 750].map((sequence) => tail.pageAfter(sequence));
      const early = tail.pageAfter(650);
      release();
      expect((await first).head).toBe(700);
      expect((await early).head).toBe(700);
      const pages = await Promise.all(late);
      expect(pages.map(({ anchor, events }) => [anchor!.record.sequence, events.length])).toEqual([
        [700, 200],
        [750, 150],
        [750, 150],
      ]);
      expect(log.asked).toHaveLength(2);
    });

    it('asks from where the records ended that the log has given at a time, and keeps these as well', async () => {
      await startWith(1_200);
      log.pageRecords = 2;
      expect(await readToRing(0)).toBe(1_190);
      const { length } = log.asked;
      // Two to a page, of which one is the anchor.
      expect(length).toBeGreaterThanOrEqual(1_189);
      expect(length).toBeLessThan(1_200);
      await Promise.all([readToRing(0), readToRing(1_000), readToRing(777)]);
      expect(log.asked).toHaveLength(length);
    });

    it('keeps what fits into its bytes, and drops what was used longest ago', async () => {
      await startWith(3_000);
      const bytes = weightOf((await tail.pageAfter(500)).events);
      tail.stop();
      log.asked.length = 0;
      await startWith(0, { ringBytes: bytes * 2.5 });
      const ask = async (sequence: number) => {
        await tail.pageAfter(sequence);
        return log.asked.splice(0).map(({ from }) => from);
      };
      expect(await ask(500)).toEqual([500]);
      expect(await ask(1_000)).toEqual([1_000]);
      expect(await ask(500)).toEqual([]);
      expect(await ask(1_500)).toEqual([1_500]);
      expect(await ask(500)).toEqual([]);
      expect(await ask(1_000)).toEqual([1_000]);
      expect(await ask(500)).toEqual([]);
      expect(await ask(1_500)).toEqual([1_500]);
    });

    it('keeps no block that is larger than its bytes alone', async () => {
      await startWith(2_000, { ringBytes: 1_000 });
      await tail.pageAfter(600);
      await tail.pageAfter(600);
      expect(log.asked).toHaveLength(2);
      expect(jest.getTimerCount()).toBe(0);
    });

    it.each(['epoch', 'diverged', 'regressed', 'trimmed'] as const)(
      'drops what it keeps, and what is on its way, where the log does not go on: %s',
      async (reason) => {
        await startWith(2_000);
        await tail.pageAfter(600);
        const epoch = reason === 'epoch' ? 'two' : 'one';
        const release = log.holdPages();
        const late = tail.pageAfter(1_100);
        await jest.advanceTimersByTimeAsync(0);
        log.replace(epoch, topics(1_900), { reason });
        expect(jest.getTimerCount()).toBe(0);
        const after = tail.pageAfter(1_100);
        release();
        expect([(await late).epoch, (await late).head]).toEqual(['one', 2_000]);
        expect([(await after).epoch, (await after).head]).toEqual([epoch, 1_900]);
        expect((await tail.pageAfter(1_100)).head).toBe(1_900);
        expect((await tail.pageAfter(600)).head).toBe(1_900);
        expect(log.asked.map(({ from }) => from)).toEqual([500, 1_000, 1_000, 500]);
      },
    );

    it('drops what it keeps where a page is of another epoch', async () => {
      await startWith(2_000);
      await tail.pageAfter(100);
      log.replace('two', topics(2_000), { silently: true });
      expect((await tail.pageAfter(100)).epoch).toBe('one');
      expect((await tail.pageAfter(600)).epoch).toBe('two');
      expect((await tail.pageAfter(100)).epoch).toBe('two');
    });

    describe('where another server answers than the one that is followed', () => {
      it('asks again where it is one of a former log, as a master that was replaced', async () => {
        await startWith(2_000);
        log.replace('two', topics(2_000));
        log.epoch = 'one';
        const asking = tail.pageAfter(100);
        await jest.advanceTimersByTimeAsync(1_000);
        log.epoch = 'two';
        await jest.advanceTimersByTimeAsync(1_000);
        const { epoch, anchor } = await asking;
        expect([epoch, anchor!.record.sequence]).toEqual(['two', 100]);
      });

      it('asks again where it holds other events than the ring', async () => {
        await startWith(2_000);
        const [mine, nonce] = [tail.position, log.at(1_995).nonce];
        log.replace('two', topics(2_000), { silently: true });
        log.epoch = 'one';
        const asking = tail.pageAfter(1_980);
        await jest.advanceTimersByTimeAsync(1_000);
        log.replace('one', topics(2_000), { silently: true });
        await jest.advanceTimersByTimeAsync(1_000);
        const { events } = await asking;
        expect(events.find(({ record }) => record.sequence === 1_995)!.record.nonce).toBe(nonce);
        expect(tail.position).toBe(mine);
      });

      it('asks no longer when the log is reset: the caller begins anew', async () => {
        await startWith(2_000);
        log.replace('two', topics(2_000));
        log.epoch = 'one';
        const asking = tail.pageAfter(100);
        await jest.advanceTimersByTimeAsync(10);
        log.replace('three', topics(2_000));
        await asking;
        expect(jest.getTimerCount()).toBeLessThanOrEqual(1);
      });

      it('fails where it goes on for long, and asks a few times a second', async () => {
        await startWith(2_000);
        log.replace('two', topics(2_000));
        log.epoch = 'one';
        log.asked.length = 0;
        const asking = Promise.allSettled([100, 100, 200].map((sequence) => tail.pageAfter(sequence)));
        await jest.advanceTimersByTimeAsync(60_000);
        const answers = await asking;
        expect(answers.map((one) => String((one as PromiseRejectedResult).reason))).toEqual(
          answers.map(() => expect.stringContaining('another server')),
        );
        expect(log.asked.length).toBeLessThan(30);
      });

      it('leaves a page alone that was asked for before a reset', async () => {
        await startWith(2_000);
        const release = log.holdPages();
        const asking = tail.pageAfter(100);
        await jest.advanceTimersByTimeAsync(0);
        log.replace('two', topics(2_000));
        release();
        expect((await asking).epoch).toBe('one');
      });
    });

    it('keeps nothing once it was stopped', async () => {
      await startWith(2_000);
      await tail.pageAfter(100);
      const late = tail.pageAfter(600);
      tail.stop();
      await late;
      await tail.pageAfter(1_100);
      expect(jest.getTimerCount()).toBe(0);
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
      expect(sequencesOf(events)).toEqual(Array.from({ length: 300 }, (_, n) => 701 + n));
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
