import { describe, expect, it } from '@jest/globals';
import { waitFor } from 'nestjs-event-stream/testing';
import { APPEND } from '../../lib/engines/redis/scripts.js';
import type { Appended, EventLogStore } from '../../lib/log/index.js';
import { EVENTS, META } from '../support/servers/redis-keys.js';
import { Random } from '../support/random.js';
import { startRedis } from '../support/servers/redis-server.js';
import type { RedisServer } from '../support/servers/redis-server.js';
import { append, open, proxyTo, record } from './redis-stores.js';

const EVENTS_OF_A_STORM = 400;

const nextTurn = () => new Promise((resolve) => setImmediate(resolve));
const keptIn = async ({ log }: EventLogStore) =>
  (await log.page(1, 1_000)).records.map(({ data }) => Number(data));
const sequencesOf = (appended: readonly Appended[]) => appended.map(({ records }) => records[0]!.sequence);
const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, n) => from + n);
const lengthOf = (server: RedisServer) => server.command('XLEN', EVENTS);
/** A store behind a proxy, whose connection and scripts are ready. */
const startReady = async () => {
  const server = await startRedis();
  const proxy = await proxyTo(server);
  const store = open(proxy.port, { commandTimeoutMs: 300 });
  await append(store, 1);
  return { server, proxy, store };
};
/** Publishes numbers as events, each in a turn of its own, and waits for none of them. */
const publish = async ({ log }: EventLogStore, numbers: readonly number[]) => {
  const publishing: Promise<Appended>[] = [];
  for (const n of numbers) {
    publishing.push(log.append([record(n)]));
    await nextTurn();
  }
  return publishing;
};

describe('redis(), when an event is published while another one is under way', () => {
  it('does not wait for it', async () => {
    const { server, proxy, store } = await startReady();
    proxy.blackHole('to client');
    const publishing = await publish(store, [2, 3, 4]);
    await waitFor(async () => (await lengthOf(server)) === 4, { timeoutMs: 250 });
    proxy.heal();
    expect(sequencesOf(await Promise.all(publishing))).toEqual([2, 3, 4]);
    expect(await keptIn(store)).toEqual([1, 2, 3, 4]);
  });

  it('never has it before the other one, also if that is lost on its way', async () => {
    const { proxy, store } = await startReady();
    const held = proxy.holdRequest((request) => request.includes('EVALSHA') || request.includes('evalsha'));
    const publishing = await publish(store, [2, 3, 4]);
    await held;
    expect(sequencesOf(await Promise.all(publishing))).toEqual([2, 3, 4]);
    expect(await keptIn(store)).toEqual([1, 2, 3, 4]);
  });

  it.each([1, 2, 3])('has all in order while connections are cut: seed %i', async (seed) => {
    const random = new Random(seed);
    const { proxy, store } = await startReady();
    const publishing: Promise<Appended>[] = [];
    for (const n of range(2, EVENTS_OF_A_STORM)) {
      publishing.push(...(await publish(store, [n])));
      if (random.next() < 0.03) {
        proxy.drop();
      }
    }
    expect(sequencesOf(await Promise.all(publishing))).toEqual(range(2, EVENTS_OF_A_STORM));
    expect(await keptIn(store)).toEqual(range(1, EVENTS_OF_A_STORM));
  });

  it('is refused by Redis where the other one was not carried out', async () => {
    const { server, store } = await startReady();
    const [{ epoch }, nonce] = [await store.log.head(), await server.command('HGET', META, 'nonce')];
    const settings = [epoch, '', '100', '0', '0', '1000', '', '1', '', ''];
    const keys = [EVENTS, META, '{sse:topics}:publish:b'];
    const fields = [String(nonce), 'a', '', '2', '1'];
    const append = (before: string) =>
      server.command('EVAL', APPEND.text, '4', ...keys, before, ...settings, ...fields);
    expect(await append('{sse:topics}:publish:a')).toEqual(['before']);
    expect(await keptIn(store)).toEqual([1]);
    await server.command('SET', '{sse:topics}:publish:a', `${epoch}:1`);
    expect(await append('{sse:topics}:publish:a')).toEqual(['ok', epoch, '2']);
  });
});
