import { describe, expect, it } from '@jest/globals';
import type { Appended, EventLogStore } from '../../lib/log/index.js';
import { Random } from '../support/random.js';
import { startRedis } from '../support/servers/redis-server.js';
import { append, open, proxyTo, record } from './redis-stores.js';

const EVENTS_OF_A_STORM = 400;

const nextTurn = () => new Promise((resolve) => setImmediate(resolve));
const keptIn = async ({ log }: EventLogStore) =>
  (await log.page(1, 1_000)).records.map(({ data }) => Number(data));
const sequencesOf = (appended: readonly Appended[]) => appended.map(({ records }) => records[0]!.sequence);
const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, n) => from + n);
/** A store behind a proxy, whose connection and scripts are ready. */
const startReady = async () => {
  const server = await startRedis();
  const proxy = await proxyTo(server);
  const store = open(proxy.port, { commandTimeoutMs: 300 });
  await append(store, 1);
  return { proxy, store };
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
});
