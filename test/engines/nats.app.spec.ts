import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { nats } from 'nestjs-event-stream/nats';
import type { NatsLogOptions } from 'nestjs-event-stream/nats';
import { waitFor } from 'nestjs-event-stream/testing';
import { createTopicsApp, nothingLeft, summary } from '../e2e/topics/topics-app.js';
import { FaultProxy } from '../support/faults/fault-proxy.js';
import { startNats } from '../support/servers/nats-server.js';
import type { NatsServer } from '../support/servers/nats-server.js';
import { closeAll, open, platforms } from '../support/apps/platforms.js';

const PATH = 'connect';
const DEADLINE = { timeoutMs: 15_000 };
const messages = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, n) => `message ${from + n}`);
const numbers = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, n) => from + n);

// What differs between platforms differs with Redis as well, whose suite runs on all of them.
const platform = platforms[0]!;

describe('several instances on one NATS', () => {
  let server: NatsServer;
  let proxy: FaultProxy;
  let log: string;
  let count = 0;

  beforeAll(async () => {
    server = await startNats();
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

  const instance = (options: Partial<NatsLogOptions> = {}, module: object = {}) =>
    createTopicsApp(platform, {
      log: nats({ servers: `127.0.0.1:${proxy.port}`, log, ...options }),
      ...module,
    });

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

  it('keep their streams while NATS is away, and go on after', async () => {
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
    const context = await instance({ storage: 'memory' });
    const stream = await open(context.app, PATH);
    await stream.next();
    await context.publish('a', 1);
    await stream.take(1);
    await server.restart();
    await stream.until(({ events }) => events.length >= 3);
    await context.publish('a', 2);
    await stream.until(({ events }) => events.length >= 4);
    expect(summary(stream)).toEqual(['cursor {}', 'message 1', 'reset {"reason":"epoch"}', 'message 2']);
  });

  it('do not start without NATS, and leave nothing open', async () => {
    proxy.refuse();
    await expect(instance({ startTimeoutMs: 300 })).rejects.toMatchObject({
      code: 'log-unavailable',
      message: expect.stringContaining('startTimeoutMs (300)'),
    });
    await proxy.accept();
    expect(proxy.connections).toBe(0);
  });

  it('close their connection when they close', async () => {
    const context = await instance();
    const stream = await open(context.app, PATH);
    await stream.next();
    expect(proxy.connections).toBe(1);
    await closeAll();
    await waitFor(() => proxy.connections === 0, DEADLINE);
  });
});
