import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { waitFor } from 'nestjs-event-stream/testing';
import { ScriptedSource } from '../../test/support/apps/scripted-source.js';
import { DeadlineWheel } from '../time/deadline-wheel.js';
import { memory } from '../engines/memory/index.js';
import type { EventLogStore, Lease, NamedLog } from '../log/index.js';
import type { RunEnd, SseRunOptions } from './options.js';
import { startSettings } from './options.js';
import { controlRecord } from './record/records.js';
import { nameOf } from './record/name.js';
import { readItems, readState } from './record/state.js';
import { Runs } from './runs.js';

// A lease lasts three quarters of it: longer than a loaded machine makes this process stand still.
const LEASE_MS = 1_200;

/** The log of a process that stands still: it renews no lease, and does not notice that a lease has run out. */
class StandingStill {
  isStill = false;
  readonly store: EventLogStore;
  #failing = 0;

  constructor(store: EventLogStore) {
    this.store = {
      isShared: true,
      health: store.health,
      log: store.log,
      open: async (name, options) => this.#failingAt(await store.open(name, options)),
      find: (name, page) => store.find(name, page),
      claim: (name, options) => store.claim(name, options),
      lease: async (name, options) => this.#held(await store.lease(name, options)),
      close: () => store.close(),
    };
  }

  /** Makes the next appends to the opened logs fail. */
  fail(times: number): void {
    this.#failing = times;
  }

  #failingAt(log: NamedLog): NamedLog {
    return {
      append: async (records, options) => {
        if (this.#failing > 0) {
          this.#failing -= 1;
          throw new Error('The log is away.');
        }
        return log.append(records, options);
      },
      page: (from, limit) => log.page(from, limit),
      head: () => log.head(),
      follow: (listener, options) => log.follow(listener, options),
      notify: (key, notice) => log.notify(key, notice),
      onNotice: (listener) => log.onNotice(listener),
      lastNotice: (key) => log.lastNotice(key),
    };
  }

  #held(lease: Lease | undefined): Lease | undefined {
    return (
      lease && {
        token: lease.token,
        signal: new AbortController().signal,
        renew: async () => this.isStill || lease.renew(),
        release: () => lease.release(),
      }
    );
  }
}

describe('runs of two instances on one log', () => {
  let store: EventLogStore;
  let still: StandingStill;
  let one: Runs;
  let other: Runs;
  let wheels: DeadlineWheel[];
  let warnings: string[];
  let source: ScriptedSource;
  let next: ScriptedSource;

  const runsOn = (log: EventLogStore) => {
    const wheel = new DeadlineWheel();
    wheels.push(wheel);
    return new Runs(
      log,
      { leaseMs: LEASE_MS, ringBytes: 1_000_000, maxRuns: 3, maxEventBytes: 100_000, maxLagMs: 1_000 },
      {
        wheel,
        reporter: {
          error: () => undefined,
          warn: (message) => warnings.push(message),
          debug: () => undefined,
        },
        publicError: () => ({ message: 'masked', status: 500 }),
      },
    );
  };
  const start = (runs: Runs, from: ScriptedSource, options: SseRunOptions = {}) =>
    runs.start('a', from.source, startSettings({ format: 'json', orphanMs: false, ...options }));
  const items = async (owner?: string) => {
    const state = await readState(store, nameOf('a', owner));
    return state && (await readItems(state)).items;
  };

  beforeEach(() => {
    wheels = [];
    warnings = [];
    store = memory()();
    still = new StandingStill(store);
    one = runsOn(still.store);
    other = runsOn(store);
    source = new ScriptedSource();
    next = new ScriptedSource();
  });

  afterEach(async () => {
    await Promise.all([one.drain(), other.drain()]);
    await Promise.all([one.close(), other.close()]);
    expect(wheels.map(({ size }) => size)).toEqual([0, 0]);
    await store.close();
  });

  it('wait once, for one lease, for a listener that never settles', async () => {
    const onEnd = jest.fn(() => new Promise<void>(() => undefined));
    one.onEnd(onEnd);
    await start(one, source);
    source.end();
    await waitFor(() => onEnd.mock.calls.length === 1);

    jest.useFakeTimers({ doNotFake: ['nextTick', 'setImmediate', 'queueMicrotask'] });
    try {
      const settled = one.settled();
      await jest.advanceTimersByTimeAsync(LEASE_MS);
      await settled;
      const onClosed = jest.fn();
      void one.close().then(onClosed);
      await jest.advanceTimersByTimeAsync(LEASE_MS / 4);
      expect(onClosed).toHaveBeenCalledTimes(1);
    } finally {
      jest.useRealTimers();
    }
  });

  it('hold the events of one producer, even if another wakes after its lease has run out', async () => {
    source.push('of one');
    await start(one, source);
    await waitFor(async () => (await items())?.length === 1);
    still.isStill = true;
    await waitFor(async () => start(other, next));
    next.push('of other');
    await waitFor(async () => (await items())?.length === 1);

    // The first producer does not know of the second, and goes on.
    source.push('of one');
    await source.untilAborted();
    next.push('of other').end();
    await waitFor(async () => (await readState(store, nameOf('a')))?.ending);
    expect(await items()).toEqual(['of other', 'of other']);
  });

  it('are kept for as long as their process lives', async () => {
    source.push('x');
    await start(one, source);
    const begun = performance.now();
    await waitFor(
      async () => {
        await other.caretaker.finishIfDead(nameOf('a'));
        return performance.now() - begun > 3 * LEASE_MS;
      },
      { timeoutMs: 20_000 },
    );
    expect((await readState(store, nameOf('a')))?.ending).toBeUndefined();
    expect(source.isAborted).toBe(false);
  });

  it('end once for all when an instance notices that the producer is gone', async () => {
    const ends: RunEnd[] = [];
    other.onEnd((end) => ends.push(end));
    await start(one, source, { owner: 'ada' });
    source.push('x');
    await waitFor(async () => (await items('ada'))?.length === 1);
    still.isStill = true;
    await waitFor(() => other.caretaker.finishIfDead(nameOf('a', 'ada')));
    expect(
      await Promise.all([
        other.caretaker.finishIfDead(nameOf('a', 'ada')),
        other.caretaker.finishIfDead(nameOf('a', 'ada')),
      ]),
    ).toContain(true);

    expect(ends).toMatchObject([{ id: 'a', owner: 'ada', reason: 'error', events: 1, bytes: 3 }]);
    const state = await readState(store, nameOf('a', 'ada'));
    expect(state).toMatchObject({ isSettled: true, ending: { reason: 'error', failure: { status: 500 } } });
    // The producer learns of its end when it wakes.
    await source.untilAborted();
    expect(await start(one, source, { owner: 'ada' })).toBe(true);
  });

  it('are aborted if they lose their log', async () => {
    await start(one, source);
    const lease = await waitFor(() => {
      still.isStill = true;
      return store.lease(nameOf('a'), { ttlMs: LEASE_MS });
    });
    await store.open(nameOf('a'), { maxEvents: 10, ttlMs: 1_000, lease });
    await source.untilAborted();
    await lease.release();
  });

  it('end by the first stop from any instance, and not a second time', async () => {
    await start(one, source);
    expect(await other.stop('a', undefined)).toBe(true);
    await source.untilAborted();
    await waitFor(async () => (await readState(store, nameOf('a')))?.ending);
    expect(await other.stop('a', undefined)).toBe(false);
    expect(await other.stop('b', undefined)).toBeUndefined();
  });

  it('count clients on other instances until these tell that they are gone, or are silent for long', async () => {
    source.push('x');
    await start(one, source, { onDisconnect: 'abort' });
    const { log } = (await readState(store, nameOf('a')))!;
    await log.append([controlRecord('here', 'another'), controlRecord('here', 'a third')]);
    await log.append([controlRecord('gone', 'another')]);
    source.push('y');
    await waitFor(async () => (await items())?.length === 2);
    expect(source.isAborted).toBe(false);
    await log.append([controlRecord('gone', 'a third')]);
    await source.untilAborted();
    await waitFor(async () => (await readState(store, nameOf('a')))?.ending?.reason === 'client');
    expect((await readState(store, nameOf('a')))?.ending?.reason).toBe('client');
  });

  it('are given to their owner alone, and only from a place of their own', async () => {
    source.push('x', 'y');
    await start(one, source, { owner: 'ada' });
    await waitFor(async () => (await items('ada'))?.length === 2);
    const { epoch, log } = (await readState(store, nameOf('a', 'ada')))!;
    const { records } = await log.page(1, 10);
    const [, x] = records;
    const wanted = (lastEventId: string | undefined, owner = 'ada') => ({
      owner,
      lastEventId,
      mustKnowEnd: () => true,
    });
    const place = await other.find('a', wanted(`${epoch}-${x!.sequence}-${x!.nonce}`));
    expect(place?.ahead.map(({ record }) => record.data)).toEqual(['"y"']);
    for (const runs of [one, other]) {
      expect(await runs.find('a', wanted(undefined, 'eve'))).toBeUndefined();
      expect(await runs.find('a', { ...wanted(undefined), owner: undefined })).toBeUndefined();
      expect(await runs.stop('a', 'eve')).toBeUndefined();
      expect(await runs.state('a', undefined)).toBeUndefined();
    }
    expect(source.isAborted).toBe(false);
    for (const id of [
      `${epoch}-${x!.sequence}-00000000`,
      `0${epoch.slice(1)}0-${x!.sequence}-${x!.nonce}`,
      `${epoch}-99-${x!.nonce}`,
      '7',
    ]) {
      for (const runs of [one, other]) {
        await expect(runs.find('a', wanted(id))).rejects.toMatchObject({ code: 'run-replaced' });
      }
    }
  });

  it('of two owners under one id are apart: neither owner sees, replaces or stops that of the other', async () => {
    source.push('ada’s');
    next.push('eve’s');
    const nobodys = new ScriptedSource().push('nobody’s');
    expect(await start(one, source, { owner: 'ada' })).toBe(true);
    expect(await start(other, next, { owner: 'eve' })).toBe(true);
    expect(await start(one, nobodys)).toBe(true);
    for (const [owner, item] of [
      ['ada', 'ada’s'],
      ['eve', 'eve’s'],
      [undefined, 'nobody’s'],
    ] as const) {
      await waitFor(async () => (await items(owner))?.[0] === item);
    }

    expect(await other.stop('a', 'ada')).toBe(true);
    await source.untilAborted();
    expect([next.isAborted, nobodys.isAborted]).toEqual([false, false]);
    expect(await other.state('a', 'eve')).toMatchObject({
      id: 'a',
      begin: { owner: 'eve' },
      ending: undefined,
    });
  });

  it('of an owner, started by an instance of 0.1, are hidden from others, and not replaced by them', async () => {
    const lease = (await store.lease(nameOf('a'), { ttlMs: 60_000 }))!;
    const log = await store.open(nameOf('a'), { maxEvents: 100, ttlMs: 60_000, lease });
    const begin = { owner: 'ada', hasFormat: false, lost: [], isCut: true, isAborted: false, startedAt: 0 };
    await log.append([controlRecord('begin', begin)], { lease });

    expect(
      await one.find('a', { owner: undefined, lastEventId: undefined, mustKnowEnd: () => true }),
    ).toBeUndefined();
    expect(await one.stop('a', undefined)).toBeUndefined();
    await expect(start(one, source)).rejects.toMatchObject({ code: 'run-forbidden' });
    expect(await start(one, source, { owner: 'ada' })).toBe(true);
  });

  it('warn once if the owner is missing, and the instance knows the id with an owner', async () => {
    await start(one, source, { owner: 'ada' });
    await other.state('a', undefined);
    expect(warnings).toEqual([]);
    await one.state('b', undefined);
    await one.state('a', 'eve');
    expect(warnings).toEqual([]);
    await one.stop('a', undefined);
    await one.state('a', undefined);
    expect(warnings).toEqual([expect.stringContaining('runs.of(owner)')]);
  });

  it('are started up to maxRuns, however many starts come at once', async () => {
    const sources = Array.from({ length: 200 }, () => new ScriptedSource());
    const ask = (from: ScriptedSource, n: number) =>
      one.start(`run ${n}`, from.source, startSettings({ orphanMs: false }));
    const started = await Promise.allSettled(sources.map(ask));

    expect(started.filter(({ status }) => status === 'fulfilled')).toHaveLength(3);
    expect(started.at(-1)).toMatchObject({ reason: { code: 'run-refused' } });
    // A run that ends frees its place, and so does one that was not started.
    await one.stop('run 0', undefined);
    still.fail(1);
    await expect(ask(source, 300)).rejects.toThrow('The log is away.');
    expect(await ask(source, 301)).toBe(true);
    expect(await ask(source, 301)).toBe(false);
    await expect(ask(source, 302)).rejects.toMatchObject({ code: 'run-refused' });
  });

  it('are kept after their end if ifEnded says so, even if their process has died', async () => {
    source.push('x').end();
    await start(one, source);
    await waitFor(async () => (await readState(store, nameOf('a')))?.ending);
    const first = await readState(store, nameOf('a'));
    expect(await start(other, next, { ifEnded: 'keep' })).toBe(false);
    expect(await readState(store, nameOf('a'))).toMatchObject({ epoch: first!.epoch });
    expect(await start(other, next)).toBe(true);

    const dying = new ScriptedSource().push('y');
    await start(one, dying, { owner: 'ada' });
    await waitFor(async () => (await items('ada'))?.length === 1);
    still.isStill = true;
    const again = new ScriptedSource();
    await waitFor(async () => {
      expect(await start(other, again, { owner: 'ada', ifEnded: 'keep' })).toBe(false);
      return (await readState(store, nameOf('a', 'ada')))?.ending?.reason === 'error';
    });
    expect(await items('ada')).toEqual(['y']);
    expect([next.starts, again.starts]).toEqual([1, 0]);
  });

  it('are kept after their end for the request that has started them', async () => {
    const idempotencyKey = 'question 1';
    source.push('x').end();
    await start(one, source, { idempotencyKey });
    await waitFor(async () => (await readState(store, nameOf('a')))?.ending);

    expect(await start(other, next, { idempotencyKey })).toBe(false);
    expect(await items()).toEqual(['x']);
    expect(await start(other, next, { idempotencyKey: 'question 2' })).toBe(true);
    expect(source.starts).toBe(1);
  });

  it.each(['', 'x'.repeat(513), '\ud800', 5])('refuse the idempotencyKey %j', (idempotencyKey) => {
    expect(() => startSettings({ idempotencyKey: idempotencyKey as string })).toThrow(
      expect.objectContaining({ code: 'options-invalid', field: 'idempotencyKey' }),
    );
  });

  it('are refused beyond maxRuns', async () => {
    const settings = startSettings({ orphanMs: false });
    for (const id of ['a', 'b', 'c']) {
      await one.start(id, source.source, settings);
    }
    await expect(one.start('d', next.source, settings)).rejects.toMatchObject({ code: 'run-refused' });
    expect(await other.start('d', next.source, settings)).toBe(true);
    await one.stop('a', undefined);
    expect(await one.start('e', next.source, settings)).toBe(true);
  });

  it('call their own onEnd even if the instance could not record the end itself', async () => {
    const ends: RunEnd[] = [];
    await start(one, source, { onEnd: (end) => ends.push(end) });
    source.push('x');
    await waitFor(async () => (await items())?.length === 1);
    still.fail(1);
    source.push('lost');
    await waitFor(() => ends.length === 1);
    expect(ends).toMatchObject([{ reason: 'error', events: 1, error: { message: 'The log is away.' } }]);
  });

  it('refuse to start if the app is closing', async () => {
    await one.drain();
    await expect(start(one, source)).rejects.toMatchObject({ code: 'closed' });
    expect(source.starts).toBe(0);
  });

  it('are not offered to an instance that is closing', async () => {
    const offered: string[] = [];
    one.onHandOver(() => offered.push('one'));
    other.onHandOver(() => offered.push('other'));
    await start(one, source, { onShutdown: 'hand-over' });
    source.push(1);
    await waitFor(async () => (await items())?.length === 1);

    await one.drain();
    for (const { caretaker } of [one, other]) {
      await caretaker.finishIfDead(nameOf('a', undefined));
    }
    expect(offered).toEqual(['other']);
  });
});
