import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { waitFor } from 'nestjs-event-stream/testing';
import { ScriptedSource } from '../../test/support/scripted-source.js';
import { DeadlineWheel } from '../connection/deadline-wheel.js';
import { memory } from '../log/index.js';
import type { EventLogStore, Lease, NamedLog } from '../log/index.js';
import type { RunEnd, SseRunOptions } from './run.options.js';
import { runSettings } from './run.options.js';
import { controlRecord } from './run.records.js';
import { nameOf, readItems, readState } from './run.state.js';
import { Runs } from './runs.js';

const LEASE_MS = 300;

/** The log as a process has it that stands still: it renews no lease, and does not notice that they are over. */
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
      lease: async (name, options) => this.#held(await store.lease(name, options)),
      close: () => store.close(),
    };
  }

  /** Fails the next appends to logs that it opens. */
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

describe('runs of two processes on one log', () => {
  let store: EventLogStore;
  let still: StandingStill;
  let one: Runs;
  let other: Runs;
  let wheels: DeadlineWheel[];
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
        reporter: { error: () => undefined, warn: () => undefined, debug: () => undefined },
        publicError: () => ({ message: 'masked', status: 500 }),
      },
    );
  };
  const start = (runs: Runs, from: ScriptedSource, options: SseRunOptions = {}) =>
    runs.start('a', from.source, runSettings({ format: 'json', orphanMs: false, ...options }));
  const items = async () => {
    const state = await readState(store, 'a');
    return state && (await readItems(state)).items;
  };

  beforeEach(() => {
    wheels = [];
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

  it('hold the events of one producer, also where another stood still past its lease and wakes', async () => {
    source.push('of one');
    await start(one, source);
    await waitFor(async () => (await items())?.length === 1);
    still.isStill = true;
    await waitFor(async () => start(other, next));
    next.push('of other');
    await waitFor(async () => (await items())?.length === 1);

    // It knows nothing of that, and goes on.
    source.push('of one');
    await source.untilAborted();
    next.push('of other').end();
    await waitFor(async () => (await readState(store, 'a'))?.ending);
    expect(await items()).toEqual(['of other', 'of other']);
  });

  it('are kept for as long as their process lives', async () => {
    source.push('x');
    await start(one, source);
    const begun = performance.now();
    await waitFor(async () => {
      await other.finishIfDead('a');
      return performance.now() - begun > 3 * LEASE_MS;
    });
    expect((await readState(store, 'a'))?.ending).toBeUndefined();
    expect(source.isAborted).toBe(false);
  });

  it('end for all when a process that is gone is noticed, once', async () => {
    const ends: RunEnd[] = [];
    other.onEnd((end) => ends.push(end));
    await start(one, source, { owner: 'ada' });
    source.push('x');
    await waitFor(async () => (await items())?.length === 1);
    still.isStill = true;
    await waitFor(() => other.finishIfDead('a'));
    expect(await Promise.all([other.finishIfDead('a'), other.finishIfDead('a')])).toContain(true);

    expect(ends).toMatchObject([{ id: 'a', owner: 'ada', reason: 'error', events: 1, bytes: 3 }]);
    const state = await readState(store, 'a');
    expect(state).toMatchObject({ isSettled: true, ending: { reason: 'error', failure: { status: 500 } } });
    // It hears of it, however still it stood.
    await source.untilAborted();
    expect(await start(one, source, { owner: 'ada' })).toBe(true);
  });

  it('are aborted where they lose their log', async () => {
    await start(one, source);
    const lease = await waitFor(() => {
      still.isStill = true;
      return store.lease(nameOf('a'), { ttlMs: LEASE_MS });
    });
    await store.open(nameOf('a'), { maxEvents: 10, ttlMs: 1_000, lease });
    await source.untilAborted();
    await lease.release();
  });

  it('take their end from whoever says stop, and from nobody after it', async () => {
    await start(one, source);
    expect(await other.stop('a', undefined)).toBe(true);
    await source.untilAborted();
    await waitFor(async () => (await readState(store, 'a'))?.ending);
    expect(await other.stop('a', undefined)).toBe(false);
    expect(await other.stop('b', undefined)).toBeUndefined();
  });

  it('count clients of other processes, until these say that they are gone, or say nothing for long', async () => {
    source.push('x');
    await start(one, source, { onDisconnect: 'abort' });
    const { log } = (await readState(store, 'a'))!;
    await log.append([controlRecord('here', 'another'), controlRecord('here', 'a third')]);
    await log.append([controlRecord('gone', 'another')]);
    source.push('y');
    await waitFor(async () => (await items())?.length === 2);
    expect(source.isAborted).toBe(false);
    await log.append([controlRecord('gone', 'a third')]);
    await source.untilAborted();
    await waitFor(async () => (await readState(store, 'a'))?.ending?.reason === 'client');
    expect((await readState(store, 'a'))?.ending?.reason).toBe('client');
  });

  it('are given to their owner alone, and from no place but their own', async () => {
    source.push('x', 'y');
    await start(one, source, { owner: 'ada' });
    await waitFor(async () => (await items())?.length === 2);
    const { epoch, log } = (await readState(store, 'a'))!;
    const { records } = await log.page(1, 10);
    const [, x] = records;
    const wanted = (lastEventId: string | undefined, owner = 'ada') => ({
      owner,
      lastEventId,
      mustKnowEnd: () => true,
    });
    const place = await other.find('a', wanted(`${epoch}-${x!.sequence}-${x!.nonce}`));
    expect(place?.ahead.map(({ record }) => record.data)).toEqual(['"y"']);
    await expect(other.find('a', wanted(undefined, 'eve'))).rejects.toMatchObject({ code: 'run-forbidden' });
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

  it('are not started in the place of another owner’s, live or over', async () => {
    source.push('secret').end();
    await start(one, source, { owner: 'ada' });
    await waitFor(async () => (await readState(store, 'a'))?.ending);
    for (const runs of [one, other]) {
      await expect(start(runs, next, { owner: 'eve' })).rejects.toMatchObject({ code: 'run-forbidden' });
    }
    const live = new ScriptedSource();
    await start(one, live, { owner: 'ada' });
    for (const runs of [one, other]) {
      await expect(start(runs, next)).rejects.toMatchObject({ code: 'run-forbidden' });
    }
    expect(next.starts).toBe(0);
    expect(live.isAborted).toBe(false);
  });

  it('are refused beyond as many as a process may make', async () => {
    const settings = runSettings({ orphanMs: false });
    for (const id of ['a', 'b', 'c']) {
      await one.start(id, source.source, settings);
    }
    await expect(one.start('d', next.source, settings)).rejects.toMatchObject({ code: 'run-refused' });
    expect(await other.start('d', next.source, settings)).toBe(true);
    await one.stop('a', undefined);
    expect(await one.start('e', next.source, settings)).toBe(true);
  });

  it('tell their own onEnd also where the process could not record the end itself', async () => {
    const ends: RunEnd[] = [];
    await start(one, source, { onEnd: (end) => ends.push(end) });
    source.push('x');
    await waitFor(async () => (await items())?.length === 1);
    still.fail(1);
    source.push('lost');
    await waitFor(() => ends.length === 1);
    expect(ends).toMatchObject([{ reason: 'error', events: 1, error: { message: 'The log is away.' } }]);
  });

  it('refuse to start where the app is closing', async () => {
    await one.drain();
    await expect(start(one, source)).rejects.toMatchObject({ code: 'closed' });
    expect(source.starts).toBe(0);
  });
});
