import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { EventLogFactory } from 'nestjs-event-stream';
import { nats } from 'nestjs-event-stream/nats';
import { postgres } from 'nestjs-event-stream/postgres';
import { redis } from 'nestjs-event-stream/redis';
import { waitFor } from 'nestjs-event-stream/testing';
import { createTopicsApp, nothingLeft, summary } from '../e2e/topics/topics-app.js';
import { closeAll, open, platforms } from '../support/apps/platforms.js';
import type { Platform } from '../support/apps/platforms.js';
import { FaultProxy } from '../support/faults/fault-proxy.js';
import { startNats } from '../support/servers/nats-server.js';
import { postgresUrl } from '../support/servers/postgres-server.js';
import { startRedis } from '../support/servers/redis-server.js';
import { startForgetfulPostgres } from './shared-engines.js';
import type { EngineServer } from './shared-engines.js';

const DEADLINE = { timeoutMs: 15_000 };
const PATH = 'connect';
const messages = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, n) => `message ${from + n}`);
const numbers = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, n) => from + n);

/** The options that all engines have. */
interface LogOptions {
  readonly log: string;
  readonly startTimeoutMs?: number;
  readonly publishTimeoutMs?: number;
}

interface Engine {
  readonly name: string;
  start(): Promise<EngineServer>;
  log(port: number, options: LogOptions): EventLogFactory;
  /** Of one instance. */
  readonly connections: number;
  /** What a failed start says of a server that refuses connections. */
  readonly refusal: string;
}

const onRedis: Engine = {
  name: 'Redis',
  start: () => startRedis(),
  log: (port, options) => redis({ url: `redis://127.0.0.1:${port}`, ...options }),
  connections: 2,
  refusal: 'ECONNREFUSED',
};
const onNats: Engine = {
  name: 'NATS',
  start: () => startNats(),
  log: (port, options) => nats({ servers: `127.0.0.1:${port}`, storage: 'memory', ...options }),
  connections: 1,
  refusal: 'startTimeoutMs (300)',
};

const onPostgres: Engine = {
  name: 'PostgreSQL',
  start: startForgetfulPostgres,
  log: (port, options) => postgres({ url: postgresUrl(port), ...options }),
  connections: 2,
  refusal: 'ECONNREFUSED',
};

// Platforms differ with all engines alike: NATS is tried on one of them.
const [onExpress] = platforms as [Platform];
const places = [
  ...platforms.map((platform) => ({ engine: onRedis, platform })),
  ...platforms.map((platform) => ({ engine: onPostgres, platform })),
  { engine: onNats, platform: onExpress },
].map((place) => ({ ...place, title: `one ${place.engine.name}, on ${place.platform.name}` }));

describe.each(places)('several instances on $title', ({ engine, platform }) => {
  let server: EngineServer;
  let proxy: FaultProxy;
  let log: string;
  let count = 0;

  beforeAll(async () => {
    server = await engine.start();
  });
  afterAll(() => server.stop());
  beforeEach(async () => {
    log = `log-${(count += 1)}`;
    proxy = await FaultProxy.start(server.port);
  });
  afterEach(async () => {
    await closeAll();
    // Node may never close a socket that is reset while it ends.
    await waitFor(() => proxy.connections === 0, DEADLINE);
    await proxy.stop();
  });

  const instance = (options: Partial<LogOptions> = {}, module: object = {}) =>
    createTopicsApp(platform, { log: engine.log(proxy.port, { log, ...options }), ...module });

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

  it.each([
    ['the ring', 1_000],
    ['the log', 10],
  ])(
    'give a client that comes back to another of them exactly what it missed, out of %s',
    async (from, ringEvents) => {
      const [one, other] = [await instance(), await instance({}, { ringEvents })];
      const stream = await open(one.app, PATH);
      await stream.next();
      await one.publish('a', ...numbers(1, 3));
      await stream.take(3);
      await stream.close();
      const positions = await one.publish('a', ...numbers(4, 50));
      await waitFor(async () => (await other.sse.position()) === positions.at(-1), DEADLINE);

      const again = await open(other.app, PATH, { lastEventId: stream.lastEventId });
      await other.publish('a', 51);
      await again.until(({ events }) => events.length >= 48);
      expect(summary(again)).toEqual(messages(4, 51));
      expect(other.counts).toMatchObject(from === 'the ring' ? { ring: 1 } : { log: 1 });
    },
  );

  it('keep their streams while the engine is away, and go on after', async () => {
    const context = await instance({ publishTimeoutMs: 400 });
    const stream = await open(context.app, PATH);
    await stream.next();
    await context.publish('a', 1);
    await stream.take(1);
    proxy.refuse();
    proxy.drop();
    await waitFor(() => context.sse.health.state === 'down', DEADLINE);
    await expect(context.sse.publish('a', 2)).rejects.toMatchObject({
      code: 'publish-failed',
      isOutcomeKnown: true,
    });
    await proxy.accept();
    await waitFor(() => context.sse.health.state === 'ready', DEADLINE);
    await context.publish('a', 3);
    await stream.until(({ events }) => events.length >= 3);
    expect(summary(stream)).toEqual(['cursor {}', 'message 1', 'message 3']);
  });

  it('tell their clients of a log that is begun anew', async () => {
    const context = await instance();
    const stream = await open(context.app, PATH);
    await stream.next();
    await context.publish('a', 1);
    await stream.take(1);
    await server.restart();
    await stream.until(({ events }) => events.length >= 3, DEADLINE);
    await waitFor(() => context.sse.health.state === 'ready', DEADLINE);
    await context.publish('a', 2);
    await stream.until(({ events }) => events.length >= 4);
    expect(summary(stream)).toEqual(['cursor {}', 'message 1', 'reset {"reason":"epoch"}', 'message 2']);
  });

  it('do not start without the engine, and leave nothing open', async () => {
    proxy.refuse();
    await expect(instance({ startTimeoutMs: 300 })).rejects.toMatchObject({
      code: 'log-unavailable',
      message: expect.stringContaining(engine.refusal),
    });
    await proxy.accept();
    expect(proxy.connections).toBe(0);
  });

  it('close their connections when they close', async () => {
    const context = await instance();
    const stream = await open(context.app, PATH);
    await stream.next();
    expect(proxy.connections).toBe(engine.connections);
    await closeAll();
    await waitFor(() => proxy.connections === 0, DEADLINE);
  });
});

describe.each(platforms)('an instance on Redis, on $name', (platform) => {
  afterEach(closeAll);

  it('does not ask Redis for what a ring holds, and does for what it does not', async () => {
    const server = await startRedis();
    const scriptsRun = async () => {
      const stats = await server.info('commandstats');
      return Number(/calls=(\d+)/.exec(stats['cmdstat_evalsha'] ?? '')?.[1] ?? 0);
    };
    const context = await createTopicsApp(platform, { log: redis({ url: server.url }), ringEvents: 10 });
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
    await closeAll();
    await server.stop();
  });
});
