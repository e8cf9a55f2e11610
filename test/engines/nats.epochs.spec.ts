import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { jetstreamManager } from '@nats-io/jetstream';
import type { EventLogStore } from '../../lib/log/index.js';
import { Ear } from './contract/ear.js';
import type { NatsServer } from '../support/servers/nats-server.js';
import { startNats } from '../support/servers/nats-server.js';
import { append, connectTo, follow, open, startWithFiles, STREAM, untilReset } from './nats-stores.js';

const INSTANCES = 4;

afterEach(() => {
  jest.restoreAllMocks();
});

/** Has no instance wait longer than another one before it replaces the epoch. The library needs its random inboxes. */
const actAtOnce = () => {
  const random = Math.random.bind(Math);
  jest.spyOn(Math, 'random').mockImplementation(() => random() / 1_000);
};
const openAll = (server: NatsServer) =>
  Promise.all(Array.from({ length: INSTANCES }, () => open(server.port)));
const epochsOf = (stores: readonly EventLogStore[]) =>
  Promise.all(stores.map(async ({ log }) => (await log.head()).epoch));
/** Counts the requests that give the stream another description, and so another epoch. */
const countUpdates = async (server: NatsServer) => {
  const connection = await connectTo(server);
  const counted = { count: 0 };
  connection.subscribe(`$JS.API.STREAM.UPDATE.${STREAM}`, { callback: () => void (counted.count += 1) });
  await connection.flush();
  return counted;
};

describe('the epoch of nats(), when all instances find at once that it must be replaced', () => {
  it('has one that replaces it after a loss, and each listener is reset once', async () => {
    const { server, keep, restore } = await startWithFiles();
    const stores = await openAll(server);
    const ears = await Promise.all(stores.map(({ log }) => follow(log)));
    await append(stores[0]!.log, 1, 3);
    await keep();
    await append(stores[0]!.log, 4, 9);
    await Promise.all(ears.map((ear) => ear.until(9)));
    const [before] = await epochsOf(stores);
    actAtOnce();
    await restore();
    await Promise.all(ears.map(untilReset));
    const after = new Set(await epochsOf(stores));
    expect([after.size, after.has(before!)]).toEqual([1, false]);
    expect(ears.flatMap(({ resets }) => resets.map(({ epoch }) => epoch))).toEqual(
      ears.map(() => [...after][0]),
    );
  });

  it('has one that gives it to a stream that was made by hand', async () => {
    const server = await startNats();
    const { streams } = await jetstreamManager(await connectTo(server));
    const duplicate_window = 10_000_000_000;
    await streams.add({ name: STREAM, subjects: ['sse.topics.events.>'], duplicate_window });
    const updates = await countUpdates(server);
    actAtOnce();
    const stores = await openAll(server);
    const followed = await Promise.all(stores.map(({ log }) => log.follow(new Ear())));
    expect(new Set(followed.map(({ head }) => head.epoch)).size).toBe(1);
    expect(updates.count).toBe(1);
  });

  it('has another one that replaces it, if the first one has died', async () => {
    const server = await startNats();
    const { streams } = await jetstreamManager(await connectTo(server));
    await (await open(server.port)).lease('log:epoch', { ttlMs: 700 });
    await streams.update(STREAM, { description: '' });
    const stores = await openAll(server);
    const followed = await Promise.all(stores.map(({ log }) => log.follow(new Ear())));
    expect(new Set(followed.map(({ head }) => head.epoch)).size).toBe(1);
  });
});
