import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { waitFor } from 'nestjs-event-stream/testing';
import { CatchUp } from '../../connection/index.js';
import type { EventStreamResponse } from '../../connection/index.js';
import { DEFAULT_LIMITS, Limits } from '../../limits/index.js';
import { LogEvent, LogTail } from '../../log/index.js';
import type { EventLog, LogRecord } from '../../log/index.js';
import { DeadlineWheel } from '../../time/index.js';
import type { Chunk } from '../../wire/index.js';
import { RunBatch } from './batch.js';
import { RunFollower } from './follower.js';
import type { FollowedRun } from './follower.js';

const CLIENTS = 500;
const EVENTS = 2_000;
// Of 64 KB each: more would hold up everything else, and the sockets that wait to be accepted.
const WRITES_PER_TURN = 32;
// More than they need.
const TURNS = 400;

it('500 clients that attach to one run at once are written to a few in a turn, and each gets all of it', async () => {
  const ignore = (): void => undefined;
  const events = Array.from(
    { length: EVENTS },
    (_, n) =>
      new LogEvent(
        { topic: 'item', data: `${n}`, isJson: true, sequence: n + 1, nonce: '00000000', time: 0 },
        'epoch',
      ),
  );
  const view = {
    epoch: 'epoch',
    begin: {},
    isFollowing: true,
    tail: { last: EVENTS, ring: { first: 1, at: (sequence: number) => events[sequence - 1] } },
    onClientDrained: ignore,
    remove: ignore,
  } as unknown as FollowedRun;
  const wheel = new DeadlineWheel();
  let writes = 0;
  let live = 0;
  const output = { keepsUp: true, countEvents: ignore, writeChunk: () => (writes += 1) };
  const connection = {
    output,
    isClosed: false,
    attachFeed: ignore,
    commit: ignore,
    writeHeld: () => (live += 1),
  } as unknown as EventStreamResponse;
  const start = {
    cursor: 0,
    ahead: [],
    wheel,
    maxLagMs: 1_000,
    limits: new Limits(DEFAULT_LIMITS, { debug: ignore, warn: ignore, error: ignore }),
    turns: new CatchUp<RunFollower>((follower) => follower.catchUp()),
  };
  const followers = Array.from({ length: CLIENTS }, () => new RunFollower(connection, view, start));

  followers.forEach((follower) => follower.begin());
  let mostInTurn = writes;
  for (let turn = 0; turn < TURNS; turn += 1) {
    const before = writes;
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
    mostInTurn = Math.max(mostInTurn, writes - before);
  }

  expect(live).toBe(CLIENTS);
  expect(mostInTurn).toBeLessThanOrEqual(WRITES_PER_TURN);
  expect(followers.map((follower) => follower.events)).toEqual(Array.from({ length: CLIENTS }, () => EVENTS));
  followers.forEach((follower) => follower.onClosed());
  await waitFor(() => wheel.size === 0);
});

describe('a client whose run was read before it is followed here', () => {
  const recordAt = (sequence: number, nonce: string, topic = 'item') => ({
    topic,
    data: topic === 'end' ? '{"reason":"done","events":9,"bytes":9}' : `"${sequence} ${nonce}"`,
    isJson: true,
    sequence,
    nonce,
    time: 0,
  });
  const recordsOf = (nonce: string, from: number, to: number) =>
    Array.from({ length: to - from + 1 }, (_, n) => recordAt(from + n, nonce));
  const READ_TO = 6;
  /** How many records the tail begins with. */
  const RECENT = 2;
  let wheel: DeadlineWheel;

  beforeEach(() => {
    wheel = new DeadlineWheel();
  });

  afterEach(async () => {
    await waitFor(() => wheel.size === 0);
  });

  /** Attaches a client that has read {@link READ_TO} records, to a log that holds these as it is followed. */
  async function attach(held: readonly LogRecord[]) {
    const written: string[] = [];
    const closed: string[] = [];
    const report = () => undefined;
    const write = ({ frame }: Chunk) =>
      written.push(...(frame.toString().match(/(?<=data: ").*(?=")/g) ?? []));
    const pages = (from: number) => held.filter(({ sequence }) => sequence >= from);
    const head = { epoch: 'epoch', sequence: held.length, nonce: held.at(-1)!.nonce };
    const log = {
      follow: async () => ({ head, recent: held.slice(-RECENT), stop: () => undefined }),
      page: async (from: number) => ({ epoch: 'epoch', records: pages(from), first: 1, head: held.length }),
    } as unknown as EventLog;
    const isEnd = ({ topic }: LogRecord) => topic === 'end';
    let isLive = !held.some(isEnd);
    const follow: { offer?: (batch: RunBatch) => void } = {};
    const tail = new LogTail(log, {
      ringEvents: 100,
      ringBytes: 100_000,
      listener: {
        onEvents: (events) => {
          follow.offer?.(new RunBatch(events));
          isLive &&= !events.some(({ record }) => isEnd(record));
        },
        onReset: () => undefined,
      },
    });
    const view: FollowedRun = {
      id: 'a',
      epoch: 'epoch',
      begin: {},
      tail,
      isFollowing: true,
      get isLive() {
        return isLive;
      },
      start: async () => undefined,
      closingFramesOfLoss: () => ({ frames: [], isCut: true, failure: { message: 'lost', status: 500 } }),
      report,
      onClientDrained: () => undefined,
      remove: () => undefined,
    };
    const connection = {
      output: {
        keepsUp: true,
        countEvents: () => undefined,
        writeChunk: write,
        writeLive: write,
      },
      isClosed: false,
      hasHeadersOut: true,
      keys: [],
      schedule: wheel.schedule.bind(wheel),
      cancel: wheel.cancel.bind(wheel),
      attachFeed: () => undefined,
      commit: () => undefined,
      writeHeld: () => undefined,
      cut: (reason: string) => closed.push(`cut as ${reason}`),
      finish: (reason: string) => closed.push(`finished as ${reason}`),
      interrupt: (reason: string) => closed.push(`interrupted as ${reason}`),
    } as unknown as EventStreamResponse;
    await tail.start(RECENT);
    const follower = new RunFollower(connection, view, {
      cursor: 0,
      ahead: recordsOf('a', 1, READ_TO).map((record) => new LogEvent(record, 'epoch')),
      readTo: { epoch: 'epoch', sequence: READ_TO, nonce: 'a' },
      wheel,
      maxLagMs: 1_000,
      limits: new Limits(DEFAULT_LIMITS, { debug: report, warn: report, error: report }),
      turns: new CatchUp<RunFollower>((one) => one.catchUp()),
    });
    follow.offer = (batch) => follower.offer(batch);
    follower.begin();
    await waitFor(() => written.length >= READ_TO);
    return { follower, tail, written, closed };
  }

  it.each([
    ['ends before its place', recordsOf('a', 1, 3), [recordAt(4, 'b', 'end')]],
    ['has ended before its place', [...recordsOf('a', 1, 3), recordAt(4, 'b', 'end')], []],
    ['gets others up to its place', recordsOf('a', 1, 3), recordsOf('b', 4, READ_TO)],
    ['gets others past its place', recordsOf('a', 1, 3), recordsOf('b', 4, READ_TO + 2)],
    ['has another at its place', [...recordsOf('a', 1, 3), ...recordsOf('b', 4, READ_TO)], []],
    [
      'has another before what is held',
      [...recordsOf('a', 1, 3), ...recordsOf('b', 4, READ_TO + RECENT)],
      [],
    ],
    ['has another below what is held', [...recordsOf('a', 1, 3), ...recordsOf('b', 4, 12)], []],
  ])('is told that it is lost, where an older copy of the log %s', async (_what, held, later) => {
    const { tail, written, closed } = await attach(held);
    if (later.length > 0) {
      void tail.onRecords(later);
    }

    await waitFor(() => closed.length > 0);
    expect(closed).toEqual(['cut as error']);
    expect(written).toEqual(recordsOf('a', 1, READ_TO).map(({ data }) => data.slice(1, -1)));
  });

  it.each([
    ['lags behind', recordsOf('a', 1, 3), recordsOf('a', 4, 9)],
    ['is at its place', recordsOf('a', 1, READ_TO), recordsOf('a', READ_TO + 1, 9)],
    ['is past its place', recordsOf('a', 1, 7), recordsOf('a', 8, 9)],
    ['holds nothing below the next', recordsOf('a', 1, READ_TO + RECENT), recordsOf('a', 9, 9)],
    ['is far past it', recordsOf('a', 1, 9), []],
  ])('goes on where the tail %s', async (_what, held, later) => {
    const { follower, tail, written, closed } = await attach(held);
    if (later.length > 0) {
      void tail.onRecords(later);
    }

    await waitFor(() => !follower.isBehind);
    expect(written).toEqual(recordsOf('a', 1, 9).map(({ data }) => data.slice(1, -1)));
    expect(closed).toEqual([]);
    follower.onClosed();
  });
});
