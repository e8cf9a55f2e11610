import { expect, it } from '@jest/globals';
import { waitFor } from 'nestjs-event-stream/testing';
import { ScriptedSource } from '../../../test/support/apps/scripted-source.js';
import { DeadlineWheel } from '../../time/deadline-wheel.js';
import { memory } from '../../engines/memory/index.js';
import type { EventLogStore, NamedLog } from '../../log/index.js';
import type { RunEnd } from '../options.js';
import { startSettings } from '../options.js';
import { Runs } from '../runs.js';
import { nameOf } from '../record/index.js';
import { RunWatch } from './watch.js';

const SETTINGS = {
  leaseMs: 300,
  ringBytes: 1_000_000,
  maxRuns: 10,
  maxEventBytes: 100_000,
  maxLagMs: 1_000,
};

/** Returns the log of a process that dies in the moment in which a run has begun. */
function dyingAtBegin(store: EventLogStore): EventLogStore {
  let isDead = false;
  const alive = <T>(task: () => Promise<T>): Promise<T> =>
    isDead ? Promise.reject(new Error('This process is dead.')) : task();
  const dying = (log: NamedLog): NamedLog => ({
    append: async (records, options) => {
      const appended = await alive(() => log.append(records, options));
      isDead ||= records.some(({ topic }) => topic === 'begin');
      return appended;
    },
    page: (from, limit) => alive(() => log.page(from, limit)),
    head: () => alive(() => log.head()),
    follow: (listener, options) => alive(() => log.follow(listener, options)),
    notify: (key, notice) => alive(() => log.notify(key, notice)),
    onNotice: (listener) => alive(() => log.onNotice(listener)),
    lastNotice: (key) => alive(() => log.lastNotice(key)),
  });
  return {
    isShared: true,
    health: store.health,
    log: store.log,
    open: (name, options) => alive(async () => dying(await store.open(name, options))),
    find: (name, page) => alive(() => store.find(name, page)),
    claim: (name, options) => alive(() => store.claim(name, options)),
    lease: (name, options) => alive(() => store.lease(name, options)),
    close: () => store.close(),
  };
}

/** Returns a log that counts as one of several processes. */
function shared(store: EventLogStore): EventLogStore {
  return {
    isShared: true,
    health: store.health,
    log: store.log,
    open: (name, options) => store.open(name, options),
    find: (name, page) => store.find(name, page),
    claim: (name, options) => store.claim(name, options),
    lease: (name, options) => store.lease(name, options),
    close: () => store.close(),
  };
}

it('another instance tells the end of a run whose process dies as it begins', async () => {
  const store = memory()();
  const runsOn = (log: EventLogStore) =>
    new Runs(log, SETTINGS, {
      wheel: new DeadlineWheel(),
      reporter: { error: () => undefined, warn: () => undefined, debug: () => undefined },
      publicError: () => ({ message: 'masked', status: 500 }),
    });
  const dying = runsOn(dyingAtBegin(store));
  const other = runsOn(shared(store));
  const ends: RunEnd[] = [];
  dying.onEnd(() => undefined);
  other.onEnd((end) => ends.push(end));
  const source = new ScriptedSource();

  await expect(dying.start('a', source.source, startSettings({}))).rejects.toThrow('This process is dead.');
  await waitFor(() => ends.length > 0, { timeoutMs: 10_000 });

  expect(ends[0]).toMatchObject({ id: 'a', reason: 'error', events: 0 });
  await Promise.all([dying.close(), other.close()]);
  await store.close();
});

it('a run that is open again in an older copy, as it was noted that it is settled, is looked at once more', async () => {
  const store = memory()();
  const finished: string[] = [];
  const watch = new RunWatch(shared(store), {
    wheel: new DeadlineWheel(),
    reporter: { error: () => undefined, warn: () => undefined, debug: () => undefined },
    leaseMs: 20,
    finishIfDead: async (name) => finished.push(name) > 0,
    isOpen: async () => finished.length === 1,
    isProducedHere: () => false,
  });
  watch.start();

  await watch.note('begun', nameOf('a'), 'k1');
  await waitFor(() => finished.length > 1, { timeoutMs: 20_000 });

  expect(finished).toEqual([nameOf('a'), nameOf('a')]);
  watch.close();
  await store.close();
});
