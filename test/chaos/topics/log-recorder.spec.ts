import { afterEach, expect, it } from '@jest/globals';
import { waitFor } from 'nestjs-event-stream/testing';
import { APPEND } from '../../../lib/engines/redis/scripts.js';
import { stopServers } from '../../support/servers/local-server.js';
import { EVENTS, META, PUBLISH } from '../../support/servers/redis-keys.js';
import { startRedis, startReplica } from '../../support/servers/redis-server.js';
import type { RedisServer } from '../../support/servers/redis-server.js';
import { LogRecorder } from './log-recorder.js';

let recorder: LogRecorder;

afterEach(async () => {
  await recorder.stop();
  await stopServers();
});

/** Appends an event as the engine does, to the log with that epoch if there is none yet. */
async function append(server: RedisServer, epoch: string, n: number): Promise<string> {
  const limits = [4_000, 0, 0, 60_000];
  const event = [n, 'a', '', JSON.stringify({ n, pad: '"\\\r\n' }), '1'];
  const given = [epoch, '', ...limits, '', Date.now(), '', '', ...event];
  const keys = [EVENTS, META, `${PUBLISH}${n}`];
  const reply = (await server.command('EVAL', APPEND.text, keys.length, ...keys, ...given)) as string[];
  return reply.join(' ');
}

const lives = () =>
  recorder.branches.map(({ epoch, entries }) => [epoch, ...Array.from(entries.values(), ({ n }) => n)]);

it('writes down what an old master took that came back empty, and has become a replica', async () => {
  const old = await startRedis();
  expect(await append(old, 'one', 1)).toBe('ok one 1');
  const next = await startReplica(old);
  recorder = new LogRecorder(old, [next]);
  await recorder.look();
  await next.promote();
  await old.restart();
  recorder.server = next;
  await recorder.look();
  await recorder.hears(old);
  // An instance that has asked a Sentinel just before the promotion.
  expect(await append(old, 'two', 2)).toBe('ok two 1');
  await old.follow(next.port);
  expect(await append(next, 'one', 3)).toBe('ok one 2');
  await recorder.look();
  expect(lives()).toEqual([
    ['two', 2],
    ['one', 1, 3],
  ]);
});

it('writes down what a server took between two looks and lost again', async () => {
  const old = await startRedis();
  const next = await startReplica(old);
  recorder = new LogRecorder(old, [next]);
  await append(old, 'one', 1);
  await recorder.look();
  await recorder.hears(old);
  await append(old, 'one', 2);
  await old.command('FLUSHALL');
  await append(old, 'two', 3);
  const hasIt = async () => (await next.command('HGET', META, 'nonce')) === '3';
  await waitFor(hasIt, { timeoutMs: 20_000, describe: 'a replica that has the new log' });
  await next.promote();
  await append(old, 'two', 4);
  await old.command('FLUSHALL');
  await recorder.look();
  await old.kill();
  await append(next, 'two', 5);
  recorder.server = next;
  await recorder.look();
  expect(lives()).toEqual([
    ['one', 1, 2],
    ['two', 3, 4],
    ['two', 3, 5],
  ]);
});
