import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type { SseModuleOptions } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import { as, createRevokeApp } from '../e2e/trust/revoke-app.js';
import type { RevokeApp } from '../e2e/trust/revoke-app.js';
import { closeAll, open, platforms } from '../support/apps/platforms.js';
import { FaultProxy } from '../support/faults/fault-proxy.js';
import { sharedEngines } from './shared-engines.js';
import type { EngineServer } from './shared-engines.js';

const DEADLINE = { timeoutMs: 20_000 };
const [express, fastify] = platforms;

describe.each(sharedEngines)('a key revoked on one of several instances on $name', ({ start, log }) => {
  let server: EngineServer;
  let proxy: FaultProxy;
  beforeAll(async () => {
    server = await start();
  });
  afterAll(() => server.stop());
  afterEach(async () => {
    await closeAll();
    await proxy.stop();
  });

  const instance = (platform = express!, options: SseModuleOptions = {}) =>
    createRevokeApp(platform, { log: log(proxy.port), ...options });
  const instances = async () => {
    proxy = await FaultProxy.start(server.port);
    return [await instance(), await instance(fastify)] as const;
  };
  const statusAt = async ({ app }: RevokeApp, user: string, path = '/sse') => {
    const stream = await open(app, path, as(user));
    void stream.close();
    return stream.status;
  };

  it('is ended on the others within a second, and refused by those that start later', async () => {
    const [one, other] = await instances();
    const user = 'anna';
    const streams = await Promise.all([one, other, other].map(({ app }) => open(app, '/sse', as(user))));
    await Promise.all(streams.map((stream) => stream.next()));
    const begin = performance.now();
    await one.sse.revoke(user);
    const events = await Promise.all(streams.map((stream) => stream.next()));
    expect(performance.now() - begin).toBeLessThan(1_000);
    expect(events.map(({ type }) => type)).toEqual(['revoked', 'revoked', 'revoked']);

    expect(await Promise.all([one, other, await instance()].map((each) => statusAt(each, user)))).toEqual([
      204, 204, 204,
    ]);
  });

  it('stops its runs on the others', async () => {
    const [one, other] = await instances();
    await open(other.app, '/runs/carl', { method: 'POST' });
    await one.sse.revoke('carl');
    await waitFor(() => other.controller.aborted.includes('carl'), DEADLINE);
  });

  it('stays away while the engine is gone, and a revocable route admits no new client', async () => {
    const [one, other] = await instances();
    await one.sse.revoke('dora');
    await waitFor(async () => (await statusAt(other, 'dora')) === 204, DEADLINE);
    const before = await open(other.app, '/revocable', as('ben'));
    await before.next();
    proxy.refuse();
    proxy.drop();
    await waitFor(() => other.sse.health.state !== 'ready', DEADLINE);

    expect(await statusAt(other, 'dora')).toBe(204);
    expect(before.ending).toBeUndefined();
    const shed = await open(other.app, '/revocable', as('ben'));
    await waitFor(() => shed.retries.length > 0, DEADLINE);
    expect([shed.status, shed.events]).toEqual([200, []]);
    expect(shed.retries[0]).toBeGreaterThanOrEqual(3_000);
    expect(await statusAt(other, 'ben')).toBe(200);

    await proxy.accept();
    await waitFor(() => other.sse.health.state === 'ready', DEADLINE);
    const again = await open(other.app, '/revocable', as('ben'));
    expect((await again.next()).type).toBe('cursor');
  });

  it('comes back again and again during a failover that loses the log, and no instance lets it in', async () => {
    const [one, other] = await instances();
    await one.sse.revoke('emil');
    await waitFor(async () => (await statusAt(other, 'emil')) === 204, DEADLINE);
    const statuses: (number | undefined)[] = [];
    const over = new AbortController();
    const coming = Promise.all(
      [one, other].map(async (each) => {
        while (!over.signal.aborted) {
          statuses.push(await statusAt(each, 'emil'));
        }
      }),
    );
    await server.kill();
    // Nothing is saved: the engine that comes back is empty.
    await server.restart();
    await waitFor(() => [one, other].every(({ sse }) => sse.health.state === 'ready'), DEADLINE);

    // An instance that starts now learns it from those that have kept it.
    const later = await instance();
    await waitFor(async () => (await statusAt(later, 'emil')) === 204, DEADLINE);
    over.abort();
    await coming;
    expect(new Set(statuses)).toEqual(new Set([204]));
    expect(statuses.length).toBeGreaterThan(10);
    await one.app.close();
    await other.app.close();
    expect(await statusAt(await instance(), 'emil')).toBe(204);
  });
});
