import { describe, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import { redis } from 'nestjs-event-stream/redis';
import type { RedisLogOptions } from 'nestjs-event-stream/redis';
import { waitFor } from 'nestjs-event-stream/testing';
import type { EventLogStore } from '../../lib/log/index.js';
import { Ear } from './contract/ear.js';
import { startRedis, startReplica } from '../support/servers/redis-server.js';
import type { RedisServer } from '../support/servers/redis-server.js';
import { redisClients } from './redis-clients.js';
import { EVENTS, META } from '../support/servers/redis-keys.js';
import { append, closesAfterTest, DEADLINE, open, proxyTo, record, untilReady } from './redis-stores.js';

const dataOf = (ear: Ear) => ear.heard.map(({ data }) => Number(data));
const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, n) => from + n);
const untilReset = (ear: Ear, times = 1) => waitFor(() => ear.resets.length >= times, DEADLINE);
const untilReplicated = (replica: RedisServer, sequence: number) =>
  waitFor(async () => (await replica.command('HGET', META, 'sequence')) === String(sequence), DEADLINE);
const statesOf = (store: EventLogStore): string[] => {
  const states: string[] = [];
  store.health.onChange(() => states.push(store.health.state));
  return states;
};

describe('redis(), when the server', () => {
  it('is killed and comes back empty, begins a new epoch and says so', async () => {
    const server = await startRedis();
    const store = open(server.port);
    const ear = new Ear();
    const { head } = await store.log.follow(ear);
    await append(store, 1, 5);
    await ear.until(5);
    const states = statesOf(store);
    await server.kill();
    await waitFor(() => store.health.state !== 'ready', DEADLINE);
    await server.restart();
    await untilReset(ear);
    await untilReady(store);
    expect(ear.reasons).toEqual(['epoch']);
    expect(ear.resets[0]!.epoch).not.toBe(head.epoch);
    await append(store, 6, 7);
    await waitFor(() => ear.heard.length === 7, DEADLINE);
    expect(ear.heard.slice(5).map(({ sequence }) => sequence)).toEqual([1, 2]);
    expect(states.at(-1)).toBe('ready');
  });

  it('is killed and has all of its append-only file, goes on as if nothing had been', async () => {
    const server = await startRedis({ arguments: ['--appendonly', 'yes', '--appendfsync', 'always'] });
    const store = open(server.port);
    const ear = new Ear();
    await store.log.follow(ear);
    await append(store, 1, 5);
    await server.kill();
    const during = append(store, 6);
    await server.restart();
    await during;
    await append(store, 7, 9);
    await ear.until(9);
    expect([dataOf(ear), ear.resets]).toEqual([range(1, 9), []]);
  });

  it('is rolled back to an old dump, tells of the events that it has lost', async () => {
    const server = await startRedis();
    const store = open(server.port);
    const ear = new Ear();
    await store.log.follow(ear);
    await append(store, 1, 5);
    await server.saveDump();
    await append(store, 6, 9);
    await ear.until(9);
    await server.restoreDump();
    await untilReset(ear);
    expect(ear.reasons).toEqual(['regressed']);
    expect(ear.resets[0]!.sequence).toBe(5);
    await append(store, 10, 11);
    await waitFor(() => ear.heard.length === 11, DEADLINE);
    expect(dataOf(ear)).toEqual(range(1, 11));
  });

  it.each([
    ['fewer', 2],
    ['as many', 4],
    ['more', 9],
  ])('is replaced by a replica that missed the last events and has got %s others', async (_what, others) => {
    const master = await startRedis();
    const link = await proxyTo(master);
    const replica = await startReplica(master, { throughPort: link.port });
    const proxy = await proxyTo(master);
    const store = open(proxy.port);
    const ear = new Ear();
    await store.log.follow(ear);
    await append(store, 1, 5);
    await untilReplicated(replica, 5);
    // Of the line that both have in common nothing more reaches the replica.
    link.refuse();
    link.drop();
    await append(store, 6, 9);
    await ear.until(9);
    await replica.promote();
    const other = open(replica.port);
    await append(other, 100, 99 + others);
    proxy.targetPort = replica.port;
    proxy.drop();
    await untilReset(ear);
    expect(['regressed', 'diverged']).toContain(ear.reasons[0]);
    await append(store, 200, 201);
    await waitFor(() => dataOf(ear).includes(201), DEADLINE);
    expect(dataOf(ear)).toEqual([...range(1, 9), 200, 201]);
    expect(ear.resets).toHaveLength(1);
  });

  it('is replaced by such a replica, tells of it where nobody has heard the events that are lost as well', async () => {
    const master = await startRedis();
    const link = await proxyTo(master);
    const replica = await startReplica(master, { throughPort: link.port });
    const [proxy, otherProxy] = [await proxyTo(master), await proxyTo(master)];
    const [store, other] = [open(proxy.port), open(otherProxy.port)];
    const [ear, otherEar] = [new Ear(), new Ear()];
    await store.log.follow(ear);
    await other.log.follow(otherEar);
    await append(store, 1, 5);
    await Promise.all([ear.until(5), otherEar.until(5), untilReplicated(replica, 5)]);
    link.refuse();
    link.drop();
    // The other instance is on the replica's side of the cut from here on.
    otherProxy.targetPort = replica.port;
    otherProxy.drop();
    await append(store, 6, 9);
    await ear.until(9);
    await replica.promote();
    proxy.targetPort = replica.port;
    proxy.drop();
    await Promise.all([untilReset(ear), untilReset(otherEar)]);
    expect([ear.reasons, otherEar.reasons]).toEqual([['regressed'], ['epoch']]);
    expect(otherEar.resets).toEqual(ear.resets);
    await append(other, 10);
    await waitFor(() => dataOf(ear).includes(10) && dataOf(otherEar).includes(10), DEADLINE);
    expect(dataOf(otherEar)).toEqual([...range(1, 5), 10]);
  });

  it('has another line of events under the same epoch from one moment to the next, tells of it', async () => {
    const server = await startRedis();
    const store = open(server.port);
    const ear = new Ear();
    await store.log.follow(ear);
    await append(store, 1, 5);
    await ear.until(5);
    // As after a failover behind a proxy, or within a Cluster: no connection is lost.
    const fields = `'c', '1', 'p', n + 99, 't', 'a', 'y', '', 'd', n + 100, 'j', '1'`;
    await server.command(
      'EVAL',
      `redis.call('DEL', KEYS[1])
       for n = 1, 6 do redis.call('XADD', KEYS[1], n .. '-' .. (n + 100), ${fields}) end
       redis.call('HSET', KEYS[2], 'sequence', 6, 'nonce', 106)`,
      2,
      EVENTS,
      META,
    );
    await untilReset(ear);
    expect(ear.reasons).toEqual(['diverged']);
    expect(dataOf(ear)).toEqual(range(1, 5));
    await append(store, 7);
    await waitFor(() => dataOf(ear).includes(7), DEADLINE);
  });

  it.each([
    ['FLUSHALL', [['FLUSHALL']]],
    ['the deletion of both keys', [['DEL', EVENTS, META]]],
    ['the deletion of the meta key alone', [['DEL', META]]],
    [
      'another stream under the meta key that stood',
      [
        ['DEL', META],
        ['HSET', META, 'epoch', 'e', 'sequence', '2', 'nonce', '7'],
      ],
    ],
  ] as [string, string[][]][])('loses the log by %s, tells of it', async (_what, commands) => {
    const server = await startRedis();
    const store = open(server.port);
    const ear = new Ear();
    await store.log.follow(ear);
    await append(store, 1, 5);
    await ear.until(5);
    for (const [command, ...args] of commands) {
      await server.command(command!, ...args);
    }
    // Appends go on before anybody has looked.
    await append(store, 6, 8);
    await untilReset(ear);
    expect(new Set(ear.reasons)).toEqual(new Set(['epoch']));
    await append(store, 9, 10);
    await waitFor(() => dataOf(ear).includes(10), DEADLINE);
    const after = dataOf(ear).slice(5);
    expect(after).toEqual(range(after[0]!, 10));
    const { records } = await store.log.page(1, 100);
    expect(records.map(({ data }) => Number(data))).toEqual(range(6, 10));
  });

  it('loses the events alone, loses none that is yet to come', async () => {
    const server = await startRedis();
    const store = open(server.port);
    const ear = new Ear();
    await store.log.follow(ear);
    await append(store, 1, 5);
    await ear.until(5);
    await server.command('DEL', EVENTS);
    await append(store, 6, 8);
    await ear.until(8);
    expect([dataOf(ear), ear.resets]).toEqual([range(1, 8), []]);
    // Whoever comes back from before sees that they are gone.
    expect((await store.log.page(3, 10)).first).toBe(6);
  });

  it('evicts the log for want of memory, tells of it and goes on', async () => {
    const server = await startRedis({ arguments: ['--maxmemory-policy', 'allkeys-random'] });
    const store = open(server.port);
    const ear = new Ear();
    await store.log.follow(ear);
    await append(store, 1, 5);
    await ear.until(5);
    // With all of it gone and the limit lifted again, what is next has room.
    await server.command('CONFIG', 'SET', 'maxmemory', 1);
    await waitFor(
      async () => (await server.command('DBSIZE')) === 0 || server.command('PING').then(() => false),
      DEADLINE,
    );
    await server.command('CONFIG', 'SET', 'maxmemory', 0);
    await append(store, 6, 7);
    await untilReset(ear);
    await append(store, 8);
    await waitFor(() => dataOf(ear).includes(8), DEADLINE);
  });

  it('has no memory left, refuses at once, and takes events again when it has', async () => {
    const server = await startRedis();
    const store = open(server.port);
    const ear = new Ear();
    await store.log.follow(ear);
    await append(store, 1);
    await server.command('CONFIG', 'SET', 'maxmemory', 1);
    await expect(store.log.append([record(2)])).rejects.toMatchObject({
      code: 'publish-failed',
      isOutcomeKnown: true,
      message: expect.stringContaining('OOM'),
    });
    expect(store.health.state).toBe('degraded');
    expect(store.health.reason).toContain('OOM');
    await server.command('CONFIG', 'SET', 'maxmemory', 0);
    await append(store, 3);
    await untilReady(store);
    await ear.until(2);
    expect([dataOf(ear), ear.resets]).toEqual([[1, 3], []]);
  });

  it('forgets its scripts, is given them again', async () => {
    const server = await startRedis();
    const store = open(server.port);
    const ear = new Ear();
    await store.log.follow(ear);
    await append(store, 1);
    await server.command('SCRIPT', 'FLUSH');
    await append(store, 2, 3);
    await ear.until(3);
    expect(dataOf(ear)).toEqual([1, 2, 3]);
  });

  it('has become a replica, takes nothing until the other master is there', async () => {
    const server = await startRedis();
    const other = await startReplica(server);
    const proxy = await proxyTo(server);
    const store = open(proxy.port);
    const ear = new Ear();
    await store.log.follow(ear);
    await append(store, 1, 3);
    await ear.until(3);
    await untilReplicated(other, 3);
    await other.promote();
    await server.follow(other.port);
    const appending = append(store, 4);
    await waitFor(() => store.health.state !== 'ready', DEADLINE);
    proxy.targetPort = other.port;
    proxy.drop();
    await appending;
    await ear.until(4);
    expect([dataOf(ear), ear.resets]).toEqual([range(1, 4), []]);
  });

  it('stands still, rejects what is published in time, and has all that it took when it goes on', async () => {
    const server = await startRedis();
    const store = open(server.port, { publishTimeoutMs: 700, commandTimeoutMs: 300 });
    const ear = new Ear();
    await store.log.follow(ear);
    await append(store, 1);
    server.pause();
    await expect(store.log.append([record(2)])).rejects.toMatchObject({
      code: 'publish-failed',
      isOutcomeKnown: false,
      message: expect.stringContaining('may have been published'),
    });
    await waitFor(() => store.health.state === 'down', DEADLINE);
    server.resume();
    await untilReady(store);
    await append(store, 3);
    await waitFor(() => dataOf(ear).includes(3), DEADLINE);
    // What was sent again and again was taken once or not at all.
    expect([
      [1, 3],
      [1, 2, 3],
    ]).toContainEqual(dataOf(ear));
    expect(ear.resets).toEqual([]);
  });
});

describe.each(['ioredis 6', 'node-redis 6'])('redis() by %s, when the network', (library) => {
  const start = async (options: RedisLogOptions = {}) => {
    const server = await startRedis();
    const proxy = await proxyTo(server);
    const client = redisClients[library]!(`redis://127.0.0.1:${proxy.port}`);
    const store = redis({ client, ...options })();
    closesAfterTest(store);
    const ear = new Ear();
    await store.log.follow(ear);
    await append(store, 1, 2);
    await ear.until(2);
    return { server, proxy, store, ear };
  };

  it.each(['cut', 'black hole'] as const)(
    'loses the answer to an append by a %s, has it once',
    async (how) => {
      const { proxy, store, ear } = await start({ commandTimeoutMs: 500 });
      const swallowed = proxy.swallowReply(
        (request) => request.includes('EVALSHA') && request.includes('lost answer'),
        how,
      );
      const { records } = await store.log.append([record('lost answer')]);
      await swallowed;
      await append(store, 4);
      await ear.until(4);
      expect(ear.heard[2]).toEqual(records[0]);
      expect(ear.heard.map(({ sequence }) => sequence)).toEqual([1, 2, 3, 4]);
    },
  );

  it('passes nothing, gives up both connections and opens others when it does', async () => {
    const { proxy, store, ear } = await start({ commandTimeoutMs: 300, publishTimeoutMs: 600 });
    proxy.blackHole('both');
    await expect(store.log.append([record(3)])).rejects.toMatchObject({ isOutcomeKnown: false });
    await waitFor(() => store.health.state === 'down', DEADLINE);
    proxy.heal();
    await untilReady(store);
    await append(store, 4);
    await waitFor(() => dataOf(ear).includes(4), DEADLINE);
    expect(ear.resets).toEqual([]);
    await waitFor(() => proxy.connections === 2, DEADLINE);
  });

  it('refuses connections, says that nothing was published', async () => {
    const { proxy, store, ear } = await start({ publishTimeoutMs: 400 });
    proxy.refuse();
    proxy.drop();
    await waitFor(() => store.health.state === 'down', DEADLINE);
    await expect(store.log.append([record(3)])).rejects.toMatchObject({
      code: 'publish-failed',
      isOutcomeKnown: true,
    });
    await expect(store.log.page(1, 1)).rejects.toMatchObject({ code: 'log-unavailable' });
    await proxy.accept();
    await untilReady(store);
    await append(store, 4);
    await ear.until(3);
    expect([dataOf(ear), ear.resets]).toEqual([[1, 2, 4], []]);
  });

  it('drops every connection again and again, loses and doubles nothing', async () => {
    const { proxy, store, ear } = await start();
    for (let n = 3; n <= 40; n += 1) {
      const appending = append(store, n);
      if (n % 4 === 0) {
        proxy.drop();
      }
      await appending;
    }
    await ear.until(40);
    expect([dataOf(ear), ear.resets]).toEqual([range(1, 40), []]);
  });

  it('is slow, keeps the order', async () => {
    const { proxy, store, ear } = await start();
    proxy.delayMs = 40;
    await Promise.all(range(3, 60).map((n) => append(store, n)));
    await ear.until(60);
    expect([dataOf(ear), ear.resets]).toEqual([range(1, 60), []]);
  });

  it('leads the reader to a server that is no longer in charge, notices that it is deaf', async () => {
    const { server, proxy, store, ear } = await start();
    const old = await startReplica(server);
    await untilReplicated(old, 2);
    await old.promote();
    const reader = (await server.command('CLIENT', 'LIST')) as string;
    const id = /id=(\d+) [^\n]*cmd=xread/.exec(reader)![1]!;
    // Only what opens a connection next is led astray, and that is the reader.
    proxy.targetPort = old.port;
    await server.command('CLIENT', 'KILL', 'ID', id);
    await waitFor(
      async () => ((await old.command('CLIENT', 'LIST')) as string).includes('cmd=xread'),
      DEADLINE,
    );
    proxy.targetPort = server.port;
    const states = statesOf(store);
    await append(store, 3, 5);
    await ear.until(5);
    expect(states).toContain('degraded');
    await untilReady(store);
    expect([dataOf(ear), ear.resets]).toEqual([range(1, 5), []]);
  });
});

describe('redis()', () => {
  it('opens two connections, and closes them', async () => {
    const server = await startRedis();
    const proxy = await proxyTo(server);
    const store = open(proxy.port);
    const named = await store.open('run', { maxEvents: 10, ttlMs: 60_000 });
    await store.log.follow(new Ear());
    await named.follow(new Ear());
    await store.lease('run', { ttlMs: 60_000 });
    await Promise.all(range(1, 100).map((n) => append(store, n)));
    expect([proxy.connections, proxy.connectionsEver]).toEqual([2, 2]);
    await store.close();
    await waitFor(() => proxy.connections === 0, DEADLINE);
  });

  it('leaves the client that it was given as it is', async () => {
    const server = await startRedis();
    const client = new Redis(server.url, { keyPrefix: 'app:' });
    await client.set('a', '1');
    const listeners = client.eventNames().map((name) => client.listenerCount(name));
    const store = redis({ client })();
    closesAfterTest(store);
    const ear = new Ear();
    await store.log.follow(ear);
    await append(store, 1);
    await ear.until(1);
    await store.close();
    expect(await client.get('a')).toBe('1');
    expect(client.eventNames().map((name) => client.listenerCount(name))).toEqual(listeners);
    client.disconnect();
  });

  it('wakes its reader for a log that has just been followed', async () => {
    const server = await startRedis();
    const store = open(server.port);
    await store.log.follow(new Ear());
    const named = await store.open('run', { maxEvents: 10, ttlMs: 60_000 });
    const calls = async () =>
      Number(/calls=(\d+)/.exec((await server.info('commandstats'))['cmdstat_xread'] ?? '')?.[1] ?? 0);
    await waitFor(async () => (await calls()) > 0, DEADLINE);
    const ear = new Ear();
    await named.follow(ear);
    await named.append([record(1)]);
    await ear.until(1);
    expect((await server.info('commandstats'))['cmdstat_client|unblock']).toContain('calls=');
  });

  it('works for a user who may not wake it', async () => {
    const server = await startRedis();
    await server.command('ACL', 'SETUSER', 'app', 'on', '>secret', '~{sse:*', '+@all', '-client');
    const store = redis({ url: `redis://app:secret@127.0.0.1:${server.port}` })();
    closesAfterTest(store);
    const named = await store.open('run', { maxEvents: 10, ttlMs: 60_000 });
    await store.log.follow(new Ear());
    const ear = new Ear();
    await named.follow(ear);
    await named.append([record(1)]);
    await ear.until(1);
    expect(store.health.state).toBe('ready');
  });

  it('waits at start for as long as it is told, and fails with what is wrong', async () => {
    const server = await startRedis();
    await server.kill();
    const store = open(server.port, { startTimeoutMs: 300 });
    await expect(store.log.follow(new Ear())).rejects.toMatchObject({
      code: 'log-unavailable',
      message: `Cannot reach Redis at 127.0.0.1:${server.port}: ECONNREFUSED`,
    });
    const patient = open(server.port, { startTimeoutMs: Infinity });
    const following = patient.log.follow(new Ear());
    await server.restart();
    await expect(following).resolves.toMatchObject({ head: { sequence: 0 } });
  });

  it('does not wait where waiting does not help', async () => {
    const server = await startRedis({ arguments: ['--requirepass', 'secret'] });
    const store = open(server.port, { startTimeoutMs: Infinity });
    await expect(store.log.follow(new Ear())).rejects.toMatchObject({
      code: 'log-unavailable',
      message: expect.stringContaining('NOAUTH'),
    });
  });

  it('settles what is under way when it is closed', async () => {
    const server = await startRedis();
    const store = open(server.port);
    await store.log.follow(new Ear());
    server.pause();
    const [sent, waiting] = [store.log.append([record(1)]), store.log.append([record(2)])];
    const outcomes = Promise.allSettled([sent, waiting, store.log.head()]);
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
    await store.close();
    for (const outcome of await outcomes) {
      expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'closed' } });
    }
    server.resume();
  });

  it('lets events go that are older than maxAgeMs: with the next one, and all of them without a next one', async () => {
    const server = await startRedis();
    const store = open(server.port, { maxAgeMs: 1_000 });
    const ear = new Ear();
    await store.log.follow(ear);
    await append(store, 1, 20);
    await ear.until(20);
    const { nonce } = await store.log.head();
    const firstHeld = async () => (await store.log.page(1, 100)).first;
    await waitFor(async () => (await firstHeld()) === 21, DEADLINE);
    expect(await store.log.head()).toMatchObject({ sequence: 20, nonce });
    // They were let go one by one as well, while others came.
    await append(store, 21);
    await waitFor(async () => {
      await store.log.append([record('again')]);
      return (await firstHeld()) > 21;
    }, DEADLINE);
    await waitFor(() => ear.heard.length > 21, DEADLINE);
    expect(ear.resets).toEqual([]);
  });

  it('reads on when those who follow can take more', async () => {
    const server = await startRedis();
    const store = open(server.port);
    const heard: number[] = [];
    let goOn: (() => void) | undefined;
    await store.log.follow({
      onRecords: (records) => {
        heard.push(...records.map(({ sequence }) => sequence));
        return new Promise((resolve) => (goOn = resolve));
      },
      onReset: () => undefined,
    });
    await append(store, 1);
    await waitFor(() => goOn !== undefined, DEADLINE);
    const calls = async () => (await server.info('commandstats'))['cmdstat_xread'];
    const before = await calls();
    await append(store, 2, 40);
    // It is held up, which is not to be deaf: the connection stays.
    await waitFor(() => store.health.state === 'degraded', DEADLINE);
    expect([heard, await calls()]).toEqual([[1], before]);
    for (let last = 1; last < 40; last = heard.length) {
      goOn!();
      await waitFor(() => heard.length > last, DEADLINE);
    }
    goOn!();
    expect(heard).toEqual(range(1, 40));
    await untilReady(store);
  });

  it('loads no more of the newest events than may be held', async () => {
    const server = await startRedis();
    const store = open(server.port);
    const big = 'x'.repeat(100_000);
    for (let n = 0; n < 200; n += 10) {
      await store.log.append(Array.from({ length: 10 }, () => record(big)));
    }
    const recentOf = async (options: object) => (await store.log.follow(new Ear(), options)).recent;
    const some = await recentOf({ recent: 1_000, recentBytes: 2_000_000 });
    expect(some.at(-1)!.sequence).toBe(200);
    expect(some.length).toBeGreaterThanOrEqual(20);
    expect(some.length).toBeLessThan(100);
    expect(await recentOf({ recent: 150 })).toHaveLength(150);
    // Too large for one page of the log as well.
    const { records } = await store.log.page(1, 200);
    expect(records.length).toBeGreaterThanOrEqual(2);
    expect(records.length).toBeLessThan(100);
  });

  it('refuses what would wait beyond maxPendingBytes', async () => {
    const server = await startRedis();
    const store = open(server.port, { maxPendingBytes: 1_000, publishTimeoutMs: 500 });
    await store.log.follow(new Ear());
    await append(store, 1);
    server.pause();
    const first = store.log.append([record('x'.repeat(2_000))]);
    await expect(store.log.append([record(2)])).rejects.toMatchObject({
      code: 'publish-failed',
      isOutcomeKnown: true,
      message: expect.stringContaining('maxPendingBytes'),
    });
    await expect(first).rejects.toMatchObject({ isOutcomeKnown: false });
    server.resume();
  });
});
