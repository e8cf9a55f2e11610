import { afterEach, describe, expect, it } from '@jest/globals';
import { Cluster, Redis as IoRedis } from 'ioredis';
import { Cluster as Cluster5, Redis as IoRedis5 } from 'ioredis-5';
import { redis } from 'nestjs-event-stream/redis';
import { waitFor } from 'nestjs-event-stream/testing';
import { createCluster, createSentinel } from 'redis';
import { createCluster as createCluster5, createSentinel as createSentinel5 } from 'redis-5';
import type { EventLogStore } from '../../lib/log/index.js';
import { Ear } from './contract/ear.js';
import { stopServers } from '../support/servers/local-server.js';
import { startCluster } from '../support/servers/redis-cluster.js';
import { startSentinels } from '../support/servers/redis-sentinels.js';
import { startRedis, startReplica } from '../support/servers/redis-server.js';

interface Address {
  host: string;
  port: number;
}

const DEADLINE = { timeoutMs: 25_000 };
const urls = (addresses: Address[]) =>
  addresses.map(({ host, port }) => ({ url: `redis://${host}:${port}` }));

const clusterClients: Record<string, (nodes: Address[]) => object> = {
  'ioredis 6': (nodes) => new Cluster(nodes, { lazyConnect: true }),
  'ioredis 5': (nodes) => new Cluster5(nodes, { lazyConnect: true }),
  'node-redis 6': (nodes) => createCluster({ rootNodes: urls(nodes) }),
  'node-redis 5': (nodes) => createCluster5({ rootNodes: urls(nodes) }),
};

const sentinelClients: Record<string, (sentinels: Address[], name: string) => object> = {
  'ioredis 6': (sentinels, name) => new IoRedis({ sentinels, name, lazyConnect: true }),
  'ioredis 5': (sentinels, name) => new IoRedis5({ sentinels, name, lazyConnect: true }),
  'node-redis 6': (sentinelRootNodes, name) => createSentinel({ name, sentinelRootNodes }),
  // It has no duplicate(): each connection is made anew.
  'node-redis 5': (sentinelRootNodes, name) => () => createSentinel5({ name, sentinelRootNodes }),
};

const stores: EventLogStore[] = [];
const open = (client: object): EventLogStore => {
  const store = redis({ client, publishTimeoutMs: 20_000, startTimeoutMs: 20_000 })();
  stores.push(store);
  return store;
};
const append = async ({ log }: EventLogStore, from: number, to: number): Promise<void> => {
  for (let n = from; n <= to; n += 1) {
    await log.append([{ topic: 'a', data: String(n), isJson: true }]);
  }
};
const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, n) => from + n);
const dataOf = (ear: Ear) => ear.heard.map(({ data }) => Number(data));

afterEach(async () => {
  await Promise.all(stores.splice(0).map((store) => store.close()));
  await stopServers();
});

describe.each(Object.keys(clusterClients))('redis() on a Cluster, by %s', (library) => {
  it('goes on while its slot moves under a reader that waits', async () => {
    const cluster = await startCluster();
    const store = open(clusterClients[library]!(cluster.addresses));
    const ear = new Ear();
    await store.log.follow(ear);
    const run = await store.open('run', { maxEvents: 10, ttlMs: 60_000 });
    await append(store, 1, 5);
    await ear.until(5);

    const slot = await cluster.slotOf('{sse:topics}:events');
    const owner = await cluster.ownerOf(slot);
    const target = cluster.nodes.find((node) => node !== owner)!;
    await cluster.moveSlot(slot, target);

    await append(store, 6, 9);
    await ear.until(9);
    expect([dataOf(ear), ear.resets]).toEqual([range(1, 9), []]);
    await run.append([{ topic: 'a', data: '1', isJson: true }]);
    await waitFor(() => store.health.state === 'ready', DEADLINE);
  });
});

describe.each(Object.keys(sentinelClients))('redis() behind Sentinels, by %s', (library) => {
  it('finds the replica that is the master when the master dies', async () => {
    const master = await startRedis();
    await startReplica(master);
    const sentinels = await startSentinels(master, { sentinels: 3, replicas: 1 });
    const store = open(sentinelClients[library]!(sentinels.addresses, sentinels.name));
    const ear = new Ear();
    await store.log.follow(ear);
    await append(store, 1, 5);
    await ear.until(5);
    await waitFor(async () => (await master.command('WAIT', 1, 100)) === 1, DEADLINE);

    await master.kill();
    await append(store, 6, 9);
    await sentinels.masterPort((port) => port !== master.port);
    await ear.until(9);
    expect([dataOf(ear), ear.resets]).toEqual([range(1, 9), []]);
    await waitFor(() => store.health.state === 'ready', DEADLINE);
  });
});
