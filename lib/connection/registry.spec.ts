import { once } from 'node:events';
import { Agent, request } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { openSse, waitFor } from 'nestjs-event-stream/testing';
import { CONNECTION_SETTINGS, createRegistry, StreamServer } from '../../test/support/apps/stream-server.js';
import { ConnectionRegistry } from './registry.js';
import { toPlatform } from '../http/platform.js';

const nothingMore = () => Promise.resolve();

describe('ConnectionRegistry, at the end', () => {
  let server: StreamServer;
  let registry: ConnectionRegistry;

  beforeEach(async () => {
    registry = createRegistry({ drain: { delayMs: 0, timeoutMs: 60_000, spreadMs: 5_000 } });
    server = await StreamServer.listen((_req, res) => {
      const init = { platform: toPlatform(res), settings: CONNECTION_SETTINGS, finite: false };
      const refusal = registry.refusal();
      if (refusal) {
        registry.turnAway(init, refusal);
      } else {
        registry.admit(init).commit();
      }
    });
    // Longer than a test may take: whoever waits for a kept-alive socket waits in vain.
    server.http.keepAliveTimeout = 120_000;
    registry.watchServer(server.http);
  });

  afterEach(async () => {
    await server.close();
    await waitFor(() => registry.size === 0 && registry.wheel.size === 0);
  });

  const port = () => server.port;

  it('tells every client its own time to come back, spread evenly', async () => {
    const streams = await Promise.all(
      Array.from({ length: 10 }, () => openSse(`http://127.0.0.1:${port()}`, '/')),
    );
    await registry.drain(nothingMore);
    expect(await Promise.all(streams.map((stream) => stream.ended))).toEqual(streams.map(() => 'complete'));
    const slots = streams.map(({ retry }) => Math.min(9, Math.floor(retry! / 500))).sort((a, b) => a - b);
    // Rounding may move one to the next slot.
    expect(new Set(slots).size).toBeGreaterThanOrEqual(8);
    await Promise.all(streams.map((stream) => stream.close()));
  });

  it('destroys connections that have sent nothing, for which close() would wait', async () => {
    const spare = connect(port(), '127.0.0.1').resume();
    const closed = once(spare, 'close');
    await once(spare, 'connect');
    await waitFor(
      () => new Promise<boolean>((resolve) => server.http.getConnections((_, n) => resolve(n === 1))),
    );

    await registry.drain(nothingMore);
    await closed;
    expect(spare.destroyed).toBe(true);
  });

  it('destroys spare connections that come while it closes', async () => {
    await registry.drain(nothingMore);
    const spare = connect(port(), '127.0.0.1').resume();
    await once(spare, 'close');
    expect(spare.destroyed).toBe(true);
  });

  it('does not keep alive the socket of a client that it turns away', async () => {
    await registry.drain(nothingMore);
    const agent = new Agent({ keepAlive: true });
    const sent = request({ port: port(), host: '127.0.0.1', agent }).end();
    const [response] = (await once(sent, 'response')) as [IncomingMessage];
    const closed = once(response.socket, 'close');
    response.resume();
    await once(response, 'end');
    await closed;
    expect(response.statusCode).toBe(200);
    agent.destroy();
  });
});

describe('ConnectionRegistry, over maxConnections', () => {
  let server: StreamServer;
  let registry: ConnectionRegistry;

  beforeEach(async () => {
    registry = createRegistry({
      maxConnections: 20,
      drain: { delayMs: 0, timeoutMs: 60_000, spreadMs: 5_000 },
    });
    server = await StreamServer.listen((_req, res) => {
      const init = { platform: toPlatform(res), settings: CONNECTION_SETTINGS, finite: false };
      const refusal = registry.refusal();
      if (refusal) {
        registry.turnAway(init, refusal);
      } else {
        registry.admit(init).commit();
      }
    });
    server.http.keepAliveTimeout = 120_000;
  });

  afterEach(async () => {
    await server.close();
    await waitFor(() => registry.size === 0 && registry.wheel.size === 0);
  });

  const open = (method = 'GET') => server.open({ method });
  const openMany = (count: number) => Promise.all(Array.from({ length: count }, () => open()));

  it('holds a shed answer open for some seconds, for a client that would be back at once', async () => {
    const served = await openMany(20);
    const shed = await open();
    await shed.until(({ retries }) => retries.length === 1);
    expect(shed.retry).toBeGreaterThanOrEqual(15_000);
    expect(shed.ending).toBeUndefined();
    const began = performance.now();
    expect(await shed.ended).toBe('complete');
    expect(performance.now() - began).toBeGreaterThan(2_000);
    await Promise.all(served.map((stream) => stream.close()));
  });

  it('holds as many as a tenth of maxConnections, and ends further ones at once', async () => {
    const served = await openMany(20);
    const shed = await openMany(6);
    await waitFor(() => shed.filter(({ ending }) => ending === 'complete').length >= 4);
    expect(shed.filter(({ ending }) => ending === undefined)).toHaveLength(2);
    expect(registry.size).toBe(20);
    await Promise.all([...served, ...shed].map((stream) => stream.close()));
  });

  it('ends those that it holds as soon as the app closes', async () => {
    const served = await openMany(20);
    const shed = await open();
    await shed.until(({ retries }) => retries.length === 1);
    const began = performance.now();
    await registry.drain(nothingMore);
    expect(await shed.ended).toBe('complete');
    expect(performance.now() - began).toBeLessThan(4_500);
    await Promise.all(served.map((stream) => stream.close()));
  });

  it('does not hold a HEAD', async () => {
    const served = await openMany(20);
    const head = await open('HEAD');
    expect(await head.ended).toBe('complete');
    await Promise.all(served.map((stream) => stream.close()));
  });
});
