import { describe, expect, it } from '@jest/globals';
import { waitFor } from 'nestjs-event-stream/testing';
import { ScriptedSource } from '../../test/support/apps/scripted-source.js';
import { DeadlineWheel } from '../time/deadline-wheel.js';
import { RepeatedReport } from '../errors/index.js';
import type { EventStreamResponse } from '../connection/index.js';
import { CatchUp } from '../connection/index.js';
import { DEFAULT_LIMITS, Limits } from '../limits/index.js';
import { memory } from '../engines/memory/index.js';
import type { EventLogStore, LogListener, NamedLog } from '../log/index.js';
import { formatPosition } from '../wire/index.js';
import { RunFollower } from './client/follower.js';
import { startSettings } from './options.js';
import { nameOf } from './record/name.js';
import { findPlace, placeInView } from './client/place.js';
import { controlRecord, STOP_KEY } from './record/records.js';
import { readState } from './record/state.js';
import { RunView } from './view.js';
import { Runs } from './runs.js';

const NO_REPORTER = { error: () => undefined, warn: () => undefined, debug: () => undefined };
const FOLLOWER = {
  cursor: 0,
  ahead: [],
  wheel: new DeadlineWheel(),
  maxLagMs: 1_000,
  limits: new Limits(DEFAULT_LIMITS, NO_REPORTER),
  turns: new CatchUp<RunFollower>((follower) => follower.catchUp()),
};

/** Returns a store that calls a function just before a log is followed. */
function beforeFollowing(store: EventLogStore, act: (log: NamedLog) => Promise<unknown>): EventLogStore {
  return {
    isShared: false,
    health: store.health,
    log: store.log,
    open: async (name, options) => {
      const log = await store.open(name, options);
      return {
        append: (records, settings) => log.append(records, settings),
        page: (from, limit) => log.page(from, limit),
        head: () => log.head(),
        follow: async (listener, settings) => {
          await act(log);
          return log.follow(listener, settings);
        },
        notify: (key, notice) => log.notify(key, notice),
        onNotice: (listener) => log.onNotice(listener),
        lastNotice: (key) => log.lastNotice(key),
      };
    },
    find: (name, page) => store.find(name, page),
    claim: (name, options) => store.claim(name, options),
    lease: (name, options) => store.lease(name, options),
    close: () => store.close(),
  };
}

describe('a run that another instance stops as it begins', () => {
  it.each<[how: string, stop: (log: NamedLog) => Promise<unknown>]>([
    ['a notice', (log) => log.notify(STOP_KEY, controlRecord('stop'))],
    ['a record', (log) => log.append([controlRecord('stop')])],
  ])('receives a stop from before it was followed: %s', async (_how, stop) => {
    const store = memory()();
    const stopping = beforeFollowing(store, stop);
    const settings = {
      leaseMs: 1_000,
      ringBytes: 1_000_000,
      maxRuns: 10,
      maxEventBytes: 100_000,
      maxLagMs: 1_000,
    };
    const wheel = new DeadlineWheel();
    const runs = new Runs(stopping, settings, {
      wheel,
      reporter: { error: () => undefined, warn: () => undefined, debug: () => undefined },
      publicError: () => ({ message: 'masked', status: 500 }),
    });
    const source = new ScriptedSource();
    await runs.start('a', source.source, startSettings({}));
    await waitFor(async () => (await readState(store, nameOf('a')))?.ending !== undefined);

    expect((await readState(store, nameOf('a')))?.ending?.reason).toBe('stop');
    expect(await store.lease(nameOf('a'), { ttlMs: 1_000 })).toBeDefined();
    expect(source.isAborted).toBe(source.starts > 0);
    expect(wheel.size).toBe(0);
    await runs.drain();
    await runs.close();
    await store.close();
  });
});

describe('a run whose producer is silent', () => {
  it('is checked, even if other instances tell of clients', async () => {
    const store = memory()();
    const lease = await store.lease(nameOf('a'), { ttlMs: 60_000 });
    const log = await store.open(nameOf('a'), { maxEvents: 1_000, ttlMs: 60_000, lease: lease! });
    await log.append([controlRecord('begin', { hasFormat: true, lost: [] })]);
    let looks = 0;
    const view = new RunView(
      (await readState(store, nameOf('a')))!,
      {
        wheel: new DeadlineWheel(),
        reporter: { error: () => undefined, warn: () => undefined, debug: () => undefined },
        reports: new RepeatedReport(NO_REPORTER),
        instance: 'this',
        leaseMs: 400,
        ringBytes: 1_000_000,
        finishIfDead: async () => (looks += 1) > 0,
        onHandedOver: () => undefined,
        onUnused: () => undefined,
      },
      false,
    );
    await view.start();
    const others = setInterval(() => void log.append([controlRecord('here', 'other')]), 20);
    view.add(new RunFollower({} as EventStreamResponse, view, FOLLOWER));

    await waitFor(() => looks > 0).finally(() => clearInterval(others));
    view.close();
    await store.close();
  });
});

it('a run that is replaced before it is followed here has ended, and the log tells a client that comes back', async () => {
  const store = memory()();
  const begin = async () => {
    const lease = (await store.lease(nameOf('a'), { ttlMs: 60_000 }))!;
    const log = await store.open(nameOf('a'), { maxEvents: 1_000, ttlMs: 60_000, lease });
    const { epoch, records } = await log.append([controlRecord('begin', { hasFormat: true, lost: [] })]);
    await lease.release();
    return formatPosition({ ...records[0]!, epoch });
  };
  const lastEventId = await begin();
  const run = (await readState(store, nameOf('a')))!;
  await begin();
  // The state of the former run with the log of the next, which has the same name.
  const log = (await readState(store, nameOf('a')))!.log;
  const unused: RunView[] = [];
  const host = {
    wheel: new DeadlineWheel(),
    reporter: { error: () => undefined, warn: () => undefined, debug: () => undefined },
    reports: new RepeatedReport({ error: () => undefined, warn: () => undefined, debug: () => undefined }),
    instance: 'this',
    leaseMs: 400,
    ringBytes: 1_000_000,
    finishIfDead: async () => false,
    onHandedOver: () => undefined,
    onUnused: (view: RunView) => void unused.push(view),
  };
  const view = new RunView({ ...run, log }, host, false);
  const wanted = { owner: undefined, lastEventId, mustKnowEnd: () => false };

  expect(await placeInView(view, wanted)).toBeUndefined();
  expect([view.isLive, unused.length]).toEqual([false, 1]);
  await expect(findPlace(store, nameOf('a'), wanted)).rejects.toMatchObject({ code: 'run-replaced' });
  await store.close();
});

it('a client whose write throws is destroyed, and another client gets the run', async () => {
  const store = memory()();
  const lease = await store.lease(nameOf('a'), { ttlMs: 60_000 });
  const log = await store.open(nameOf('a'), { maxEvents: 1_000, ttlMs: 60_000, lease: lease! });
  await log.append([controlRecord('begin', { hasFormat: true, lost: [] })]);
  const view = new RunView(
    (await readState(store, nameOf('a')))!,
    {
      wheel: new DeadlineWheel(),
      reporter: { error: () => undefined, warn: () => undefined, debug: () => undefined },
      reports: new RepeatedReport({ error: () => undefined, warn: () => undefined, debug: () => undefined }),
      instance: 'this',
      leaseMs: 60_000,
      ringBytes: 1_000_000,
      finishIfDead: async () => false,
      onHandedOver: () => undefined,
      onUnused: () => undefined,
    },
    false,
  );
  await view.start();
  const told: unknown[] = [];
  const broken = new RunFollower(
    { onBroken: (error: unknown) => void told.push(error) } as unknown as EventStreamResponse,
    view,
    FOLLOWER,
  );
  broken.offer = () => {
    throw new Error('of one client');
  };
  const other = new RunFollower({} as EventStreamResponse, view, FOLLOWER);
  let offered = 0;
  other.offer = () => void (offered += 1);
  view.add(broken);
  view.add(other);

  await log.append([controlRecord('here', 'another')]);
  await waitFor(() => offered > 0);

  expect(told).toContainEqual(new Error('of one client'));
  view.close();
  await store.close();
});

it('a client is told that its run is lost, if an older copy of the log comes back before that is followed', async () => {
  const store = memory()();
  const log = await store.open(nameOf('a'), { maxEvents: 1_000, ttlMs: 60_000 });
  const item = { topic: 'item', data: '"x"', isJson: true };
  const begin = controlRecord('begin', { hasFormat: true, lost: [] });
  const { epoch, records } = await log.append([begin, item, item, item]);
  const [first, last] = records;
  let listener: LogListener | undefined;
  const follow: NamedLog['follow'] = async (to) => {
    listener = to;
    const recent = [
      { ...begin, ...first!, time: 0 },
      { ...item, ...last!, time: 0 },
    ];
    return { head: { epoch, ...last! }, recent, stop: () => undefined };
  };
  const find: EventLogStore['find'] = async (name, page) => {
    const found = (await store.find(name, page))!;
    return { ...found, log: { ...found.log, follow } };
  };
  const wheel = new DeadlineWheel();
  const runs = new Runs(
    { ...beforeFollowing(store, async () => undefined), find },
    { leaseMs: 60_000, ringBytes: 1_000_000, maxRuns: 10, maxEventBytes: 100_000, maxLagMs: 1_000 },
    { wheel, reporter: NO_REPORTER, publicError: () => ({ message: 'masked', status: 500 }) },
  );
  const closed: string[] = [];
  const ignore = (): void => undefined;
  const client = {
    output: { keepsUp: true, countEvents: ignore, writeChunk: ignore },
    isClosed: false,
    refuseSecondFeed: ignore,
    attachFeed: ignore,
    commit: ignore,
    writeHeld: ignore,
    finish: (reason: string) => closed.push(reason),
  } as unknown as EventStreamResponse;
  const place = await runs.find('a', {
    owner: undefined,
    lastEventId: undefined,
    mustKnowEnd: () => false,
  });
  const follower = await runs.attach(client, place!);
  await waitFor(() => listener !== undefined && follower.events === 3);

  const ending = { reason: 'error', events: 1, bytes: 3, isCut: false, isSettled: false };
  const end = { ...controlRecord('end', ending), sequence: 3, nonce: 'ffffffff', time: 0 };
  void listener!.onRecords([end]);
  await waitFor(() => closed.length > 0);

  expect(closed).toEqual(['error']);
  await runs.close();
  await store.close();
});

it('a client that comes back and reads nothing is closed as slow', async () => {
  const reasons: string[] = [];
  const stuck = {
    output: { keepsUp: false },
    destroy: (reason: string) => void reasons.push(reason),
  } as unknown as EventStreamResponse;
  const follower = new RunFollower(stuck, {} as RunView, { ...FOLLOWER, maxLagMs: 30 });

  // Its socket is full before it has caught up.
  follower.onFull();
  await waitFor(() => reasons.length > 0);

  expect(reasons).toEqual(['slow']);
});
