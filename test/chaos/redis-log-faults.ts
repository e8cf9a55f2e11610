import { setTimeout as pause } from 'node:timers/promises';
import type { RedisServer } from '../support/servers/redis-server.js';
import { AWAY } from './ground.js';
import type { Fault, Stage } from './ground.js';
import { EVENTS, META } from '../support/servers/redis-keys.js';
import type { LogRecorder } from './topics/log-recorder.js';

const FOREIGN_TIMES = 20;
/** As after an append whose first entry was deleted before anybody read it. */
const HOLE = `
local head = redis.call('HMGET', KEYS[2], 'sequence', 'nonce')
redis.call('HSET', KEYS[2], 'sequence', string.format('%.0f', tonumber(head[1]) + 2), 'nonce', 7)
return head[1]
`;

/** What happens to the keys of the log, on whichever server they are. */
export function keyFaults(recorder: LogRecorder): Readonly<Record<string, Fault>> {
  return {
    'the next entry is gone before it is read': async () => {
      await recorder.look([['EVAL', HOLE, 2, EVENTS, META]]);
      await recorder.look();
    },
    'another program writes to the keys': async ({ random }) => {
      for (let times = 0; times < FOREIGN_TIMES; times += 1) {
        const fields = random.pick([
          ['a', 'b'],
          ['c', '1', 'p', 'x', 't', 'a', 'y', 'evil\ndata: x', 'd', '{', 'j', '1'],
        ]);
        await recorder.server.command('XADD', EVENTS, '*', ...fields);
        await pause(random.between(5, 50));
      }
    },
  };
}

/** A copy of before a loss, with which the server is restarted. */
export function copyFaults(recorder: LogRecorder): Readonly<Record<string, Fault>> {
  return { 'an old copy of the log comes back after a loss': (stage) => bringBack(recorder, stage, ['a']) };
}

/** Copies of before a loss, one of them of before the other's. */
export function copiesFaults(recorder: LogRecorder): Readonly<Record<string, Fault>> {
  return {
    'two old copies of the log come back in turn': (stage) => bringBack(recorder, stage, ['a', 'b']),
  };
}

/** Makes a master whose writes are held back a replica of another: what is held back is refused then. */
export async function joins(old: RedisServer, master: RedisServer): Promise<void> {
  await old.command('REPLICAOF', '127.0.0.1', master.port);
  await old.command('CLIENT', 'UNPAUSE');
  await old.follow(master.port);
}

/** Loses the log, and has another one begin. */
export async function loseLog(recorder: LogRecorder, stage: Stage): Promise<void> {
  await recorder.look([['FLUSHALL']]);
  await stage.untilPublished('acknowledged', 50);
  await stage.settle();
}

/** Has what the log was come back; clients return to that. */
async function bringBack(recorder: LogRecorder, stage: Stage, copies: readonly string[]): Promise<void> {
  const away: (() => void)[] = [];
  for (const copy of copies) {
    // First: what they have seen last is in the copy, so that they could go on there as if nothing had been.
    away.push(stage.sendAway(AWAY));
    await recorder.server.saveDump(copy);
    await loseLog(recorder, stage);
  }
  for (const copy of copies) {
    await recorder.lookLast();
    await recorder.server.restoreDump(copy);
    await stage.untilPublished('acknowledged', 50);
    await stage.settle();
  }
  away.forEach((bringBack) => bringBack());
}
