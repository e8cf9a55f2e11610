import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { redis } from 'nestjs-event-stream/redis';
import type { RedisLogOptions } from 'nestjs-event-stream/redis';
import { waitFor } from 'nestjs-event-stream/testing';
import { createTopicsApp, nothingLeft, summary } from '../e2e/topics/topics-app.js';
import { FaultProxy } from '../support/faults/fault-proxy.js';
import { closeAll, open, platforms } from '../support/apps/platforms.js';
import { startRedis } from '../support/servers/redis-server.js';
import type { RedisServer } from '../support/servers/redis-server.js';

const PATH = 'connect';
const messages = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, n) => `message ${from + n}`);
const numbers = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, n) => from + n);

describe.each(platforms)('several instances on one Redis, on $name', (platform) => {
  let server: RedisServer;
  let proxy: FaultProxy;
  let log: string;

  beforeAll(async () => {
    server = await startRedis();
  });
  afterAll(() => server.stop());
  beforeEach(async () => {
    log = `log-${Math.random()}`;
    proxy = await FaultProxy.start(server.port);
  });
  afterEach(async () => {
    await closeAll();
    await proxy.stop();
  });

  const instance = (options: Partial<RedisLogOptions> = {}, module: object = {}) =>
    createTopicsApp(platform, {
      log: redis({ url: `redis://127.0.0.1:${proxy.port}`, log, ...options }),
      ...module,
    });
  const scriptsRun = async () => {
    const stats = await server.info('commandstats');
    return Number(/calls=(\d+)/.exec(stats['cmdstat_evalsha'] ?? '')?.[1] ?? 0);
  };

  it('bring what one publishes to the clients of another, in one order', async () => {
    const [one, other] = [await instance(), await instance()];
    const streams = [await open(one.app, PATH), await open(other.app, PATH)];
    await Promise.all(streams.map((stream) => stream.next()));
    await Promise.all([one.publish('a', ...numbers(1, 20)), other.publish('b', ...numbers(21, 40))]);

    await Promise.all(streams.map((stream) => stream.until(({ events }) => events.length >= 41)));
    expect(summary(streams[0]!)).toEqual(summary(streams[1]!));
    expect(streams[0]!.events.map(({ id }) => id)).toEqual(streams[1]!.events.map(({ id }) => id));
    await Promise.all(streams.map((stream) => stream.close()));
    await nothingLeft(one);
    await nothingLeft(other);
  });

  it('give a client that comes back to another of them exactly what it missed', async () => {
    const [one, other] = [await instance(), await instance()];
    const stream = await open(one.app, PATH);
    await stream.next();
    await one.publish('a', ...numbers(1, 3));
    await stream.take(3);
    await stream.close();
    await one.publish('a', ...numbers(4, 50));

    const again = await open(other.app, PATH, { lastEventId: stream.lastEventId });
    await other.publish('a', 51);
    await again.until(({ events }) => events.length >= 48);
    expect(summary(again)).toEqual(messages(4, 51));
  });

  it('do not ask Redis for what a ring holds, and do for what it does not', async () => {
    const context = await instance({}, { ringEvents: 10 });
    const positions = await context.publish('a', ...numbers(1, 30));
    await waitFor(async () => (await context.sse.position()) === positions[29]);

    const before = await scriptsRun();
    const fromRing = await open(context.app, PATH, { lastEventId: positions[24] });
    await fromRing.until(({ events }) => events.length >= 5);
    expect(summary(fromRing)).toEqual(messages(26, 30));
    expect(await scriptsRun()).toBeLessThanOrEqual(before + 1);
    const fromLog = await open(context.app, PATH, { lastEventId: positions[4] });
    await fromLog.until(({ events }) => events.length >= 25);
    expect(summary(fromLog)).toEqual(messages(6, 30));
    expect(context.counts).toMatchObject({ ring: 1, log: 1 });
  });

  it('keep their streams while Redis is away, and go on after', async () => {
    const context = await instance({ publishTimeoutMs: 400 });
    const stream = await open(context.app, PATH);
    await stream.next();
    await context.publish('a', 1);
    await stream.take(1);
    proxy.refuse();
    proxy.drop();
    await waitFor(() => context.sse.health.state === 'down', { timeoutMs: 15_000 });
    await expect(context.sse.publish('a', 2)).rejects.toMatchObject({
      code: 'publish-failed',
      isOutcomeKnown: true,
    });
    await proxy.accept();
    await waitFor(() => context.sse.health.state === 'ready', { timeoutMs: 15_000 });
    await context.publish('a', 3);
    await stream.until(({ events }) => events.length >= 3);
    expect(summary(stream)).toEqual(['cursor {}', 'message 1', 'message 3']);
  });

  it('do not start without Redis, and leave nothing open', async () => {
    proxy.refuse();
    await expect(instance({ startTimeoutMs: 200 })).rejects.toMatchObject({
      code: 'log-unavailable',
      message: expect.stringContaining('ECONNREFUSED'),
    });
    await proxy.accept();
    expect(proxy.connections).toBe(0);
  });

  it('close their connections when they close', async () => {
    const context = await instance();
    const stream = await open(context.app, PATH);
    await stream.next();
    expect(proxy.connections).toBe(2);
    await closeAll();
    await waitFor(() => proxy.connections === 0, { timeoutMs: 15_000 });
  });
});
