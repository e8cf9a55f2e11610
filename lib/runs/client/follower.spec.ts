import { expect, it } from '@jest/globals';
import { waitFor } from 'nestjs-event-stream/testing';
import { CatchUp } from '../../connection/index.js';
import type { EventStreamResponse } from '../../connection/index.js';
import { DEFAULT_LIMITS, Limits } from '../../limits/index.js';
import { LogEvent } from '../../log/index.js';
import { DeadlineWheel } from '../../time/index.js';
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
