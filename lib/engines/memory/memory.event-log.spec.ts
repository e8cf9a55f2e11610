import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { waitFor } from 'nestjs-event-stream/testing';
import { eventLogContract } from '../../../test/engines/contract/event-log.contract.js';
import { SseError } from '../../errors/sse.error.js';
import { NO_APP } from '../../log/event-log.js';
import type { EventLogStore, LogRecord } from '../../log/event-log.js';
import { memory } from './memory.event-log.js';
import type { MemoryLogOptions } from './memory.event-log.js';

// The log tells its listeners in a turn of the event loop, which no clock holds up.
const useFakeClock = () => jest.useFakeTimers({ doNotFake: ['setImmediate', 'nextTick', 'queueMicrotask'] });

describe('memory(), as any log', () => {
  eventLogContract({
    start: async () => {
      useFakeClock();
      const store = memory()();
      return { store, peer: store };
    },
    stop: async () => {
      expect(jest.getTimerCount()).toBe(0);
      jest.useRealTimers();
    },
    pass: async (ms) => {
      await jest.advanceTimersByTimeAsync(ms);
    },
    ttlMs: 1_000,
    mostOfTen: 10,
  });
});

describe('memory()', () => {
  let store: EventLogStore;

  beforeEach(() => {
    useFakeClock();
  });
  afterEach(async () => {
    await store.close();
    expect(jest.getTimerCount()).toBe(0);
    jest.useRealTimers();
  });

  const start = (options: MemoryLogOptions) => {
    store = memory(options)();
    return store.log;
  };
  const append = async (data: string, count = 1) => {
    for (let n = 0; n < count; n += 1) {
      await store.log.append([{ topic: 'a', data, isJson: false }]);
    }
  };
  const held = async (from = 1) => {
    const { records, first, head } = await store.log.page(from, Infinity);
    return { sequences: records.map(({ sequence }) => sequence), first, head };
  };

  it('keeps maxEvents, exactly', async () => {
    start({ maxEvents: 3 });
    await append('x', 3);
    expect(await held()).toEqual({ sequences: [1, 2, 3], first: 1, head: 3 });
    await append('x', 2);
    expect(await held()).toEqual({ sequences: [3, 4, 5], first: 3, head: 5 });
    await append('x', 10_000);
    expect(await held()).toEqual({ sequences: [10_003, 10_004, 10_005], first: 10_003, head: 10_005 });
    expect(await held(10_004)).toEqual({ sequences: [10_004, 10_005], first: 10_003, head: 10_005 });
  });

  it('keeps maxBytes of what topics, types and data take in memory, with 100 for each event', async () => {
    start({ maxBytes: 1_000 });
    // 100 for the event, 1 for its topic, 99 for its data: a byte for each character of Latin-1, else two.
    await append(`${'x'.repeat(48)}€`, 2);
    await append('é'.repeat(99), 3);
    expect((await held()).sequences).toEqual([1, 2, 3, 4, 5]);
    await append('');
    expect((await held()).sequences).toEqual([2, 3, 4, 5, 6]);
    await store.log.append([{ topic: 'a'.repeat(200), type: 't'.repeat(400), data: '', isJson: false }]);
    expect((await held()).sequences).toEqual([6, 7]);
    await append('x'.repeat(900));
    expect(await held()).toEqual({ sequences: [], first: 9, head: 8 });
  });

  it('keeps events for maxAgeMs, also where nothing is published any more', async () => {
    const log = start({ maxAgeMs: 1_000 });
    await append('old', 2);
    jest.advanceTimersByTime(600);
    await append('young');
    expect((await held()).sequences).toEqual([1, 2, 3]);
    jest.advanceTimersByTime(400);
    expect((await held()).sequences).toEqual([1, 2, 3]);
    jest.advanceTimersByTime(1);
    expect(await held()).toEqual({ sequences: [3], first: 3, head: 3 });
    const { nonce } = await log.head();
    jest.advanceTimersByTime(600);
    const listener = { onRecords: () => undefined, onReset: () => undefined };
    const { head, recent } = await log.follow(listener, { recent: 10 });
    expect(recent).toEqual([]);
    expect(await held()).toEqual({ sequences: [], first: 4, head: 3 });
    // The head stays where it is: who has seen it has missed nothing.
    expect([head.sequence, head.nonce]).toEqual([3, nonce]);
    await append('next');
    expect((await held()).sequences).toEqual([4]);
  });

  it('lets go of what it no longer holds', async () => {
    setFlagsFromString('--expose-gc');
    const collectGarbage = runInNewContext('gc') as () => void;
    start({ maxEvents: 1 });
    const references: WeakRef<LogRecord>[] = [];
    for (let n = 0; n < 50; n += 1) {
      const { records } = await store.log.append([{ topic: 'a', data: `${n}`, isJson: false }]);
      references.push(new WeakRef(records[0]!));
    }
    const isFreed = () => {
      collectGarbage();
      return references.filter((reference) => reference.deref()).length <= 2;
    };
    await waitFor(isFreed, { describe: () => 'all records but the last to be garbage' });
  });

  it('tells once a turn what the turn has brought', async () => {
    const log = start({});
    const calls: number[] = [];
    await log.follow({ onRecords: ({ length }) => void calls.push(length), onReset: () => undefined });
    await Promise.all([append('a', 10), append('b', 10)]);
    expect(calls).toEqual([]);
    await new Promise((resolve) => setImmediate(resolve));
    expect(calls).toEqual([20]);
  });

  it('keeps a named log and a lease for longer than a timer of Node can be', async () => {
    start({});
    const ttlMs = 2 ** 31 + 1_000_000;
    const { epoch } = await (await store.open('run', { maxEvents: 1, ttlMs })).head();
    const lease = await store.lease('run', { ttlMs });
    await jest.advanceTimersByTimeAsync(2 ** 31);
    expect(lease!.signal.aborted).toBe(false);
    expect((await (await store.open('run', { maxEvents: 1, ttlMs })).head()).epoch).toBe(epoch);
    await jest.advanceTimersByTimeAsync(1_000_000);
    expect(lease!.signal.aborted).toBe(true);
  });

  it('drops named logs whose lease is over past endedBytes, the oldest first', async () => {
    store = memory()({ ...NO_APP, endedBytes: 2_000 });
    const make = async (name: string, bytes: number) => {
      const lease = await store.lease(name, { ttlMs: 60_000 });
      const log = await store.open(name, { maxEvents: 10, ttlMs: 60_000, lease: lease! });
      // 100 for the event, 1 for its topic.
      await log.append([{ topic: 'a', data: 'x'.repeat(bytes - 101), isJson: false }], { lease: lease! });
      return lease!;
    };
    const kept = async () => {
      const names = ['a', 'b', 'c', 'live', 'large'];
      const found = await Promise.all(names.map((name) => store.find(name, { from: 1, limit: 1 })));
      return names.filter((_name, index) => found[index]);
    };
    await make('live', 5_000);
    await (await make('a', 1_000)).release();
    await (await make('b', 1_000)).release();
    expect(await kept()).toEqual(['a', 'b', 'live']);
    await (await make('c', 1_000)).release();
    expect(await kept()).toEqual(['b', 'c', 'live']);
    // A name whose lease is taken again is live.
    const again = await make('b', 1_500);
    expect(await kept()).toEqual(['b', 'c', 'live']);
    await again.release();
    expect(await kept()).toEqual(['b', 'live']);
    await (await make('large', 9_000)).release();
    expect(await kept()).toEqual(['live', 'large']);
    await jest.advanceTimersByTimeAsync(60_000);
    expect(await kept()).toEqual([]);
  });

  it('drops named logs whose lease is over past endedLogs, and says for which limit', async () => {
    const early: string[] = [];
    store = memory()({
      ...NO_APP,
      endedBytes: 1_000,
      endedLogs: 2,
      onEndedEarly: (limit) => early.push(limit),
    });
    const make = async (name: string, data = '') => {
      const lease = (await store.lease(name, { ttlMs: 60_000 }))!;
      const log = await store.open(name, { maxEvents: 10, ttlMs: 60_000, lease });
      await log.append([{ topic: 'a', data, isJson: false }], { lease });
      await lease.release();
    };
    const isKept = async (name: string) => (await store.find(name, { from: 1, limit: 1 })) !== undefined;
    await make('a');
    await make('b');
    await make('a');
    expect([await isKept('a'), await isKept('b'), early]).toEqual([true, true, []]);
    await make('c');
    expect([await isKept('a'), await isKept('b'), early]).toEqual([true, false, ['count']]);
    await make('d', 'x'.repeat(950));
    expect([await isKept('a'), await isKept('c'), await isKept('d')]).toEqual([false, false, true]);
    expect(early).toEqual(['count', 'count', 'bytes']);
  });

  it('has no timer for named logs and leases that are over', async () => {
    start({});
    for (let n = 0; n < 10; n += 1) {
      await store.open(`run ${n}`, { maxEvents: 10, ttlMs: 1_000 });
      await (await store.lease(`run ${n}`, { ttlMs: 1_000 }))!.release();
      await store.lease(`run ${n}`, { ttlMs: 1_000 });
    }
    await jest.advanceTimersByTimeAsync(1_000);
    expect(jest.getTimerCount()).toBe(0);
  });
});

describe('memory() refuses', () => {
  const refusalOf = (options: unknown): SseError => {
    try {
      memory(options as MemoryLogOptions);
    } catch (error) {
      return error as SseError;
    }
    throw new Error('Nothing was refused.');
  };

  it.each<[string, unknown, string | undefined, string]>([
    ['0', { maxEvents: 0 }, 'maxEvents', 'maxEvents of memory() must be a number, 1 or more, got 0.'],
    ['NaN', { maxBytes: Number.NaN }, 'maxBytes', 'got NaN.'],
    ['less than 1', { maxAgeMs: -5 }, 'maxAgeMs', 'got -5.'],
    ['text', { maxEvents: '100' }, 'maxEvents', 'got "100".'],
    ['long text', { maxEvents: 'x'.repeat(1_000) }, 'maxEvents', `got "${'x'.repeat(80)}…".`],
    ['null', { maxBytes: null }, 'maxBytes', 'got null.'],
    ['a bigint', { maxBytes: 10n }, 'maxBytes', 'got 10n.'],
    ['a symbol', { maxBytes: Symbol('much') }, 'maxBytes', 'got a symbol.'],
    ['an object', { maxBytes: {} }, 'maxBytes', 'got an object.'],
    [
      'an option that it has not',
      { maxEvent: 5 },
      'maxEvent',
      'memory() has no option "maxEvent". The options are maxEvents, maxBytes, maxAgeMs.',
    ],
    ['what is no object', 5, undefined, 'The options of memory() are an object, got 5.'],
    ['null for options', null, undefined, 'The options of memory() are an object, got null.'],
  ])('%s, and says what to do', (_what, options, field, message) => {
    const error = refusalOf(options);
    expect(error).toBeInstanceOf(SseError);
    expect([error.code, error.field]).toEqual(['options-invalid', field]);
    expect(error.message).toContain(message);
  });

  it.each([
    {},
    { maxEvents: undefined },
    { maxEvents: 1, maxBytes: 1, maxAgeMs: 1 },
    { maxEvents: Infinity },
  ])('nothing of %j', (options) => {
    expect(memory(options)).toEqual(expect.any(Function));
  });
});
