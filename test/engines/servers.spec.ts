import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { connect } from '@nats-io/transport-node';
import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { Redis } from 'ioredis';
import { waitFor } from 'nestjs-event-stream/testing';
import { FaultProxy } from '../support/faults/fault-proxy.js';
import { stopServers } from '../support/servers/local-server.js';
import { startNats } from '../support/servers/nats-server.js';
import { startCluster } from '../support/servers/redis-cluster.js';
import { startSentinels } from '../support/servers/redis-sentinels.js';
import { startRedis, startReplica } from '../support/servers/redis-server.js';

// Faults that are not injected prove nothing: these are held to do what the tests of engines take for granted.

const ENDED = /closed|refused|reset|max retries/i;
const DEADLINE = { timeoutMs: 20_000 };

afterEach(stopServers);

describe('a Redis of the tests', () => {
  it('has lost everything when it comes back', async () => {
    const redis = await startRedis();
    await redis.command('SET', 'a', 1);
    await redis.kill();
    await redis.restart();
    expect(await redis.command('DBSIZE')).toBe(0);
  });

  it('keeps its data once, where it is told to', async () => {
    const redis = await startRedis();
    await redis.command('SET', 'a', 1);
    await redis.restart({ keepData: true });
    expect(await redis.command('GET', 'a')).toBe('1');
    await redis.restart();
    expect(await redis.command('DBSIZE')).toBe(0);
  });

  it('keeps what it has written to its append-only file', async () => {
    const redis = await startRedis({ arguments: ['--appendonly', 'yes', '--appendfsync', 'always'] });
    await redis.command('SET', 'a', 1);
    await redis.kill();
    await redis.restart();
    expect(await redis.command('GET', 'a')).toBe('1');
  });

  it('goes back to an old dump', async () => {
    const redis = await startRedis();
    await redis.command('SET', 'a', 'old');
    await redis.saveDump();
    await redis.command('SET', 'a', 'new');
    await redis.restoreDump();
    expect(await redis.command('GET', 'a')).toBe('old');
  });

  it('is followed by a replica, which Sentinels promote when it dies', async () => {
    const master = await startRedis();
    await master.command('SET', 'a', 1);
    const replica = await startReplica(master);
    expect(await replica.command('GET', 'a')).toBe('1');
    const sentinels = await startSentinels(master, { sentinels: 3, replicas: 1 });
    expect(await sentinels.masterPort()).toBe(master.port);
    await master.kill();
    expect(await sentinels.masterPort((port) => port !== master.port)).toBe(replica.port);
    await waitFor(async () => (await replica.info('replication'))['role'] === 'master', DEADLINE);
  });

  it('is a cluster whose slots move with their keys', async () => {
    const cluster = await startCluster();
    const slot = await cluster.slotOf('{a}:b');
    const from = await cluster.ownerOf(slot);
    const to = cluster.nodes.find((node) => node !== from)!;
    await from.command('SET', '{a}:b', 1);
    await cluster.moveSlot(slot, to);
    expect(await to.command('GET', '{a}:b')).toBe('1');
    await expect(from.command('GET', '{a}:b')).rejects.toThrow(`MOVED ${slot} 127.0.0.1:${to.port}`);
  });
});

it('a NATS server of the tests keeps its streams over a crash', async () => {
  const nats = await startNats();
  const before = await connect({ servers: nats.url, reconnect: false });
  const manager = await jetstreamManager(before);
  await manager.streams.add({ name: 'events', subjects: ['a.>'], storage: 'file' });
  await jetstream(before).publish('a.b', 'one');
  await nats.kill();
  expect(await before.closed()).toBeUndefined();
  await nats.restart();
  const after = await connect({ servers: nats.url });
  expect((await (await jetstreamManager(after)).streams.info('events')).state.messages).toBe(1);
  await after.close();
});

it('tells of a server that crashes, and of none that is told to end', async () => {
  const nats = await startNats();
  let crashes = 0;
  nats.onCrash(() => (crashes += 1));
  await nats.kill();
  await nats.restart();
  await nats.restart();
  expect(crashes).toBe(0);
  process.kill(nats.pid!, 'SIGKILL');
  await waitFor(() => crashes === 1, DEADLINE);
  await nats.restart();
  await nats.stop();
  expect(crashes).toBe(1);
});

it('a server of the tests that ends by itself says so', async () => {
  const nats = await startNats();
  const writing = jest.spyOn(process.stderr, 'write').mockReturnValue(true);
  process.kill(nats.pid!, 'SIGKILL');
  await waitFor(() => nats.pid === undefined, DEADLINE);
  const written = writing.mock.calls.join('');
  writing.mockRestore();
  expect(written).toContain(`nats-server on port ${nats.port} has ended by itself (SIGKILL)`);
});

describe('a network of the tests', () => {
  async function start() {
    const redis = await startRedis();
    const proxy = await FaultProxy.start(redis.port);
    const client = new Redis(proxy.port, '127.0.0.1', {
      retryStrategy: () => null,
      maxRetriesPerRequest: 0,
      autoResendUnfulfilledCommands: false,
    });
    client.on('error', () => undefined);
    await client.set('a', 0);
    const stop = async () => {
      // Of one that has ended already, ioredis would wait two seconds for the end.
      if (client.status !== 'end') {
        client.disconnect();
      }
      await proxy.stop();
      expect(proxy.connections).toBe(0);
    };
    return { redis, proxy, client, stop };
  }

  it('ends every connection, and lets new ones be made', async () => {
    const { proxy, client, stop } = await start();
    proxy.drop();
    await waitFor(() => client.status === 'end', DEADLINE);
    await client.connect();
    expect(await client.incr('a')).toBe(1);
    expect(proxy.connectionsEver).toBe(2);
    await stop();
  });

  it('refuses who comes, and leaves who is there', async () => {
    const { proxy, client, stop } = await start();
    proxy.refuse();
    const other = client.duplicate({ lazyConnect: true });
    other.on('error', () => undefined);
    await expect(other.connect()).rejects.toThrow(ENDED);
    expect(await client.incr('a')).toBe(1);
    await proxy.accept();
    await other.connect();
    other.disconnect();
    await stop();
  });

  it.each(['cut', 'black hole'] as const)(
    'has the server do what it is asked, and tells nobody: %s',
    async (then) => {
      const { redis, proxy, client, stop } = await start();
      const swallowed = proxy.swallowReply((request) => /incr/i.test(request), then);
      let error = '';
      const failed = client.incr('a').catch(({ message }: Error) => (error = message));
      await swallowed;
      expect(await redis.command('GET', 'a')).toBe('1');
      if (then === 'black hole') {
        expect(error).toBe('');
        expect(proxy.connections).toBe(1);
        proxy.heal();
      }
      await failed;
      expect(error).toMatch(ENDED);
      await stop();
    },
  );

  it.each([
    ['to server', '0'],
    ['to client', '1'],
    ['both', '0'],
  ] as const)('takes bytes and passes none: %s', async (direction, executed) => {
    const { redis, proxy, client, stop } = await start();
    proxy.blackHole(direction);
    const failed = client.incr('a').catch(({ message }: Error) => message);
    await waitFor(async () => (await redis.command('GET', 'a')) === executed, DEADLINE);
    expect(client.status).toBe('ready');
    proxy.heal();
    expect(await failed).toMatch(ENDED);
    await stop();
  });

  it('delays bytes without changing their order', async () => {
    const { proxy, client, stop } = await start();
    const answers: number[] = [];
    for (const delayMs of [50, 5, 0, 20, 0]) {
      proxy.delayMs = delayMs;
      void client.incr('a').then((answer) => answers.push(answer));
      await new Promise(setImmediate);
    }
    const begin = performance.now();
    proxy.delayMs = 60;
    await client.incr('a');
    expect(performance.now() - begin).toBeGreaterThan(100);
    expect(answers).toEqual([1, 2, 3, 4, 5]);
    await stop();
  });
});
