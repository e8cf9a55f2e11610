import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { waitFor } from 'nestjs-event-stream/testing';
import type {
  EventLog,
  EventLogStore,
  Lease,
  LogHead,
  LogListener,
  LogRecord,
  LossReason,
  NamedLog,
  NewRecord,
} from '../../lib/log/index.js';

/** An engine that the contract runs on, with nothing in its logs. */
export interface LogEngine {
  readonly store: EventLogStore;
  /** The store of another process on the same logs; the same one, where an engine has one process. */
  readonly peer: EventLogStore;
}

/** What the contract needs of whoever runs it. */
export interface LogEngineDriver {
  /** Called before each test. The contract closes both stores after it. */
  start(): Promise<LogEngine>;
  /** Frees what `start` took, after each test. */
  stop?(): Promise<void>;
  /** Has that much time pass, for the engine too. */
  pass(ms: number): Promise<void>;
  /** What the engine holds of the logs, to be compared with what it holds later. */
  held?(): Promise<unknown>;
  /** A time to live of logs and leases that is long beside the engine's own delays. */
  readonly ttlMs: number;
  /** The most records that a log of `maxEvents: 10` may hold, for engines that trim by the block. */
  readonly mostOfTen: number;
}

const HOUR_MS = 3_600_000;
const FOREVER = { maxEvents: 100_000, ttlMs: HOUR_MS };
const NONCE = /^[0-9a-f]{8}$/;
const NO_NONCE = '00000000';

const record = (data: unknown, topic = 'a'): NewRecord => ({
  topic,
  data: JSON.stringify(data),
  isJson: true,
});
const records = (from: number, to: number): NewRecord[] =>
  Array.from({ length: to - from + 1 }, (_, index) => record(from + index));
const sequencesOf = (list: readonly LogRecord[]): number[] => list.map(({ sequence }) => sequence);
const range = (from: number, to: number): number[] =>
  Array.from({ length: Math.max(0, to - from + 1) }, (_, index) => from + index);

/** Whoever follows, with all that it was told. */
export class Ear implements LogListener {
  readonly heard: LogRecord[] = [];
  readonly resets: LogHead[] = [];
  readonly reasons: LossReason[] = [];
  calls = 0;

  onRecords(list: readonly LogRecord[]): void {
    this.calls += 1;
    this.heard.push(...list);
  }

  onReset(head: LogHead, reason: LossReason): void {
    this.resets.push(head);
    this.reasons.push(reason);
  }

  until(sequence: number): Promise<boolean> {
    return waitFor(() => (this.heard.at(-1)?.sequence ?? 0) >= sequence, {
      timeoutMs: 15_000,
      describe: () => `record ${sequence}, after ${this.heard.length} up to ${this.heard.at(-1)?.sequence}`,
    });
  }
}

/** A holder that has not noticed that its lease is gone, as a process that was stopped for a while. */
const unaware = ({ token }: Lease): Lease => ({
  token,
  signal: new AbortController().signal,
  renew: () => Promise.resolve(true),
  release: () => Promise.resolve(),
});

/**
 * What every `EventLogStore` keeps to, whatever it stands on.
 *
 * @example describe('memory(), as any log', () => eventLogContract({ start, pass, ttlMs: 1_000, mostOfTen: 10 }));
 */
export function eventLogContract(driver: LogEngineDriver): void {
  let store: EventLogStore;
  let peer: EventLogStore;
  let log: EventLog;

  beforeEach(async () => {
    ({ store, peer } = await driver.start());
    ({ log } = store);
  });

  afterEach(async () => {
    await store.close();
    await peer.close();
    await driver.stop?.();
  });

  const all = async (of: EventLog = log) => (await of.page(1, 100_000)).records;

  describe('append', () => {
    it('numbers records from 1 on, without a gap, in the order of the appends', async () => {
      for (let n = 1; n <= 20; n += 1) {
        await log.append([record(n)]);
      }
      const kept = await all();
      expect(sequencesOf(kept)).toEqual(range(1, 20));
      expect(kept.map(({ data }) => data)).toEqual(range(1, 20).map(String));
    });

    it('keeps the order of records that are appended together', async () => {
      await log.append(records(1, 300));
      expect((await all()).map(({ data }) => data)).toEqual(range(1, 300).map(String));
    });

    it('returns the records as the log has them, with its epoch', async () => {
      const before = Date.now();
      const { epoch, records: appended } = await log.append([
        { topic: 'orders.1', type: 'created', data: '{"total":5}', isJson: true },
        { topic: 'notes', data: 'text', isJson: false },
      ]);
      expect(epoch).toBe((await log.head()).epoch);
      expect(appended).toEqual(await all());
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
      expect((await all())[0]).toEqual(appended[0]);
    });

    it('does not look at the objects again that it was given', async () => {
      const given = { topic: 'a', data: '1', isJson: true };
      const appending = log.append([given]);
      given.data = '2';
      await appending;
      given.data = '3';
      expect((await all())[0]!.data).toBe('1');
    });

    it('numbers concurrent appends of several processes without a gap, each batch in its order', async () => {
      const batches = await Promise.all(
        range(1, 60).map(async (batch) => {
          const { log: writer } = batch % 2 ? store : peer;
          const list = records(1, 1 + (batch % 5)).map(({ data }) => record([batch, Number(data)]));
          return (await writer.append(list)).records;
        }),
      );
      const kept = await all();
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
      const nonces = (await all()).map(({ nonce }) => nonce);
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

  describe('page', () => {
    it('holds the records from the asked one on, as many as asked', async () => {
      await log.append(records(1, 30));
      const { epoch, records: page, first, head } = await log.page(11, 5);
      expect(sequencesOf(page)).toEqual(range(11, 15));
      expect([epoch, first, head]).toEqual([(await log.head()).epoch, 1, 30]);
    });

    it.each([
      ['all of it', 1, 30, range(1, 30)],
      ['more than it has', 21, 100, range(21, 30)],
      ['from below the first', 0, 2, [1, 2]],
      ['the last', 30, 10, [30]],
      ['one past the head', 31, 10, []],
      ['far beyond the head', 1_000, 10, []],
    ])('of %s', async (_what, from, limit, expected) => {
      await log.append(records(1, 30));
      const { records: page, first, head } = await log.page(from, limit);
      expect(sequencesOf(page)).toEqual(expected);
      expect([first, head]).toEqual([1, 30]);
    });

    it('of an empty log has none, and says that the first is yet to come', async () => {
      const { epoch } = await log.head();
      expect(await log.page(1, 10)).toEqual({ epoch, records: [], first: 1, head: 0 });
    });

    it('of a trimmed log begins with the first that is held', async () => {
      const small = await store.open('small', { maxEvents: 10, ttlMs: HOUR_MS });
      for (let from = 1; from <= 1_000; from += 100) {
        await small.append(records(from, from + 99));
      }
      const { records: page, first, head } = await small.page(1, 3);
      expect(head).toBe(1_000);
      expect(first).toBeGreaterThan(1);
      expect(sequencesOf(page)).toEqual(range(first, first + 2));
    });
  });

  describe('head and epoch', () => {
    it('is the place before the first, until there is one', async () => {
      expect(await log.head()).toEqual({ epoch: expect.any(String), sequence: 0, nonce: NO_NONCE });
    });

    it('is the place of the newest record', async () => {
      const { epoch } = await log.head();
      await log.append(records(1, 3));
      const last = (await all())[2]!;
      expect(await log.head()).toEqual({ epoch, sequence: 3, nonce: last.nonce });
      expect(await peer.log.head()).toEqual(await log.head());
    });

    it('has one epoch, that can stand in an id, for as long as the log lives', async () => {
      const { epoch } = await log.head();
      await log.append(records(1, 10));
      const { head } = await peer.log.follow(new Ear());
      expect([(await log.head()).epoch, (await log.page(1, 1)).epoch, head.epoch]).toEqual([
        epoch,
        epoch,
        epoch,
      ]);
      expect(epoch).toMatch(/^[0-9a-z]{1,32}$/);
    });
  });

  describe('follow', () => {
    it('hears all that comes after the head that it is given, once and in order', async () => {
      await log.append(records(1, 3));
      const ear = new Ear();
      const { head } = await log.follow(ear);
      expect(head).toEqual(await log.head());
      for (let n = 4; n <= 40; n += 4) {
        await (n % 8 ? log : peer.log).append(records(n, n + 3));
      }
      await ear.until(43);
      expect(ear.heard).toEqual((await all()).slice(3));
      expect(ear.resets).toEqual([]);
    });

    it('gives the newest records, which end at the head', async () => {
      await log.append(records(1, 50));
      const { head, recent } = await log.follow(new Ear(), { recent: 10 });
      expect(head.sequence).toBe(50);
      expect(recent).toEqual((await all()).slice(-10));
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

  describe('open', () => {
    it('opens a log of its own, apart from the app’s and from those of other names', async () => {
      const [first, second] = [await store.open('first', FOREVER), await store.open('second', FOREVER)];
      const ear = new Ear();
      await second.follow(ear);
      await log.append(records(1, 3));
      await first.append(records(1, 2));
      await second.append([record('second')]);
      await ear.until(1);
      expect(ear.heard.map(({ data }) => data)).toEqual(['"second"']);
      expect([(await all()).length, (await all(first)).length, (await all(second)).length]).toEqual([
        3, 2, 1,
      ]);
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
      expect(await all(theirs)).toEqual(await all(mine));
      expect(await theirs.head()).toEqual(await mine.head());
    });

    it('takes names of any characters for what they are', async () => {
      const names = ['a', 'a.b', 'a:b', '{a}', 'a*', '>', 'A', 'ä 😀', 'x'.repeat(200)];
      const logs = await Promise.all(names.map((name) => store.open(name, FOREVER)));
      await Promise.all(logs.map((opened, index) => opened.append([record(names[index])])));
      for (const [index, opened] of logs.entries()) {
        expect((await all(opened)).map(({ data }) => JSON.parse(data) as string)).toEqual([names[index]]);
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
      const opened = await store.open('run', brief());
      await opened.append([record(1)]);
      await driver.pass(driver.ttlMs * 0.6);
      await opened.append([record(2)]);
      await driver.pass(driver.ttlMs * 0.6);
      expect((await all(await store.open('run', brief()))).length).toBe(2);
    });

    it('keeps a log for its ttl after it was last opened', async () => {
      const { epoch } = await (await store.open('run', brief())).head();
      await driver.pass(driver.ttlMs * 0.6);
      await peer.open('run', brief());
      await driver.pass(driver.ttlMs * 0.6);
      expect((await (await store.open('run', brief())).head()).epoch).toBe(epoch);
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
      expect(await all(opened)).toEqual([]);
      expect(ear.heard).toHaveLength(3);
    });

    it('does not let the app’s own log expire', async () => {
      await log.append([record(1)]);
      await driver.pass(driver.ttlMs * 3);
      expect(await all()).toHaveLength(1);
    });
  });

  describe('open with a lease', () => {
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
      expect(await all(await peer.open('run', FOREVER))).toEqual(appended);
      const found = await peer.find('run', { from: 1, limit: 10 });
      expect(found!.page).toEqual({ epoch, records: appended, first: 1, head: 1 });
    });

    it('begins one anew each time, also for the same holder', async () => {
      const lease = (await store.lease('run', long))!;
      const epochs = new Set<string>();
      for (let n = 1; n <= 5; n += 1) {
        const run = await store.open('run', { ...FOREVER, lease });
        await run.append(records(1, n), { lease });
        expect(await all(run)).toHaveLength(n);
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
      expect(newEar.heard).toEqual(await all(run));
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
      expect(await all(run)).toEqual([]);
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
        expect([...ear.heard, ...(await all(run))].map(({ data }) => data)).toEqual(['"new"', '"new"']);
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
      expect((await all(same)).map(({ data }) => data)).toEqual(['"next"']);
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

  describe('find', () => {
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
          (await all(run)).filter(({ sequence }) => expected.includes(sequence)),
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
      const kept = await all(run);
      expect(kept.map(({ data }) => data)).toEqual(['1', '2', '3']);
      expect(ears.map(({ heard }) => heard)).toEqual([kept, kept, kept]);
      expect([await all(theirs), await all(mine)]).toEqual([kept, kept]);
      expect([await theirs.head(), await mine.head()]).toEqual([await run.head(), await run.head()]);
    });

    it('finds many times at once what a process has not had before', async () => {
      const run = await store.open('run', FOREVER);
      await run.append(records(1, 3));
      const found = await Promise.all(range(1, 20).map(() => peer.find('run', page)));
      expect(found.map((each) => each!.page)).toEqual(found.map(() => found[0]!.page));
      expect(found[0]!.page.records).toEqual(await all(run));
    });

    it('keeps the limits with which the log was opened, until it has expired', async () => {
      await store.open('run', brief());
      const { log: run } = (await peer.find('run', page))!;
      for (let from = 1; from <= 1_000; from += 50) {
        await run.append(records(from, from + 49));
      }
      const kept = await all(run);
      expect(kept.length).toBeGreaterThanOrEqual(10);
      expect(kept.length).toBeLessThanOrEqual(driver.mostOfTen);
      const found = await store.find('run', { from: 1, limit: 3 });
      expect(found!.page).toMatchObject({ head: 1_000, first: kept[0]!.sequence });
      expect(found!.page.records).toEqual(kept.slice(0, 3));
      await driver.pass(driver.ttlMs * 1.5);
      for (const each of [store, peer]) {
        expect(await each.find('run', page)).toBeUndefined();
      }
      expect(await all(await store.open('run', brief()))).toEqual([]);
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
        expect((await store.find(name, page))!.page.records).toEqual(await all(run));
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
      expect(await all(await store.open('run', brief()))).toEqual([]);
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
      expect(await all(run)).toHaveLength(2);
    });
  });

  describe('lease', () => {
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
      const lease = await store.lease('run', brief());
      for (let n = 0; n < 4; n += 1) {
        await driver.pass(driver.ttlMs * 0.6);
        expect(await lease!.renew()).toBe(true);
      }
      expect(lease!.signal.aborted).toBe(false);
      expect(await peer.lease('run', long)).toBeUndefined();
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
      expect(await all(run)).toEqual(appended);
    });

    const refused = { code: 'lease-lost', isOutcomeKnown: true };

    it.each(['released', 'expired'])('that was %s appends nothing', async (how) => {
      const run = await store.open('run', FOREVER);
      const lease = await store.lease('run', brief());
      await (how === 'released' ? lease!.release() : driver.pass(driver.ttlMs * 3));
      await waitFor(() => lease!.signal.aborted, { timeoutMs: 15_000 });
      await expect(run.append([record(1)], { lease })).rejects.toMatchObject(refused);
      expect(await all(run)).toEqual([]);
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
        const before = (await all(run)).length;
        await expect(run.append([record('late')], { lease: unaware(old) })).rejects.toMatchObject(refused);
        await run.append([record('next')], { lease: next });
        await expect(run.append([record('late')], { lease: unaware(old) })).rejects.toMatchObject(refused);
        expect((await all(run)).slice(before).map(({ data }) => data)).toEqual(['"next"']);
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
      expect(await all(await peer.open('run', FOREVER))).toHaveLength(1);
    });

    it('fences nothing of logs of other names', async () => {
      const run = await store.open('run', FOREVER);
      const lease = await store.lease('run', long);
      await store.lease('another run', long);
      await run.append([record(1)], { lease });
      expect(await all(run)).toHaveLength(1);
    });
  });

  describe('notices', () => {
    const notice = (data: unknown): NewRecord => ({
      topic: 'notice',
      data: JSON.stringify(data),
      isJson: true,
    });
    /** All that a log's listeners are told: beside its records, or as one of them. */
    const listenTo = async (run: NamedLog) => {
      const received: number[] = [];
      const receive = ({ topic, data }: NewRecord) => {
        if (topic === 'notice') received.push(Number(data));
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
        for (let n = 1; appending.goesOn; n += 1) await run.append([record(n)], { lease });
      })();
      for (const n of range(1, 20)) await elsewhere.notify('key', notice(n));
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
      expect((await all(run)).filter(({ topic }) => topic === 'a')).toHaveLength(2);
    });

    it('are kept for a listener that comes later, the newest of each key', async () => {
      const run = await store.open('run', FOREVER);
      for (const n of range(1, 3)) await run.notify('one', notice(n));
      await run.notify('other', notice(4));
      const kept: number[] = [];
      await (await peer.open('run', FOREVER)).onNotice(({ data }) => void kept.push(Number(data)));
      const asRecords = (await all(run)).map(({ data }) => Number(data));
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

  describe('close', () => {
    const closed = { code: 'closed' };

    it('rejects whatever is asked later, and says that nothing was appended', async () => {
      const run = await store.open('run', FOREVER);
      await store.close();
      for (const each of [log, run]) {
        await expect(each.append([record(1)])).rejects.toMatchObject({ ...closed, isOutcomeKnown: true });
        await expect(each.page(1, 1)).rejects.toMatchObject(closed);
        await expect(each.head()).rejects.toMatchObject(closed);
        await expect(each.follow(new Ear())).rejects.toMatchObject(closed);
      }
      await expect(store.open('run', FOREVER)).rejects.toMatchObject(closed);
      await expect(store.open('new', FOREVER)).rejects.toMatchObject(closed);
      await expect(store.find('run', { from: 1, limit: 1 })).rejects.toMatchObject(closed);
      await expect(store.lease('run', { ttlMs: HOUR_MS })).rejects.toMatchObject(closed);
    });

    it('ends what followed, without another word', async () => {
      const run = await store.open('run', FOREVER);
      const [ear, runEar] = [new Ear(), new Ear()];
      await log.follow(ear);
      await run.follow(runEar);
      await log.append([record(1)]);
      await ear.until(1);
      await log.append([record(2)]);
      await store.close();
      const calls = ear.calls;
      await new Promise((resolve) => setImmediate(resolve));
      await driver.pass(driver.ttlMs);
      expect([ear.calls, ear.resets, runEar.calls, runEar.resets]).toEqual([calls, [], 0, []]);
    });

    it('ends the leases that were had through it, so that others can have them', async () => {
      const lease = (await store.lease('run', { ttlMs: HOUR_MS }))!;
      await store.close();
      expect(lease.signal.aborted).toBe(true);
      expect(await lease.renew()).toBe(false);
      await lease.release();
      if (peer !== store) {
        expect(await peer.lease('run', { ttlMs: HOUR_MS })).toBeDefined();
      }
    });

    it('can be asked for again', async () => {
      const closing = Promise.all([store.close(), store.close()]);
      await expect(closing).resolves.toBeDefined();
      await expect(store.close()).resolves.toBeUndefined();
    });
  });
}
