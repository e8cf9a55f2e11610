import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { waitFor } from 'nestjs-event-stream/testing';
import { createTicketsApp } from '../e2e/trust/tickets-app.js';
import type { TicketsApp } from '../e2e/trust/tickets-app.js';
import { closeAll, open, platforms } from '../support/apps/platforms.js';
import { FaultProxy } from '../support/faults/fault-proxy.js';
import { sharedEngines } from './shared-engines.js';
import type { EngineServer } from './shared-engines.js';

const [express, fastify] = platforms;

describe.each(sharedEngines)('tickets of two instances on one $name', ({ start, log }) => {
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

  const instances = async (): Promise<[TicketsApp, TicketsApp]> => {
    proxy = await FaultProxy.start(server.port);
    return [
      await createTicketsApp(express!, { log: log(proxy.port) }),
      await createTicketsApp(fastify!, { log: log(proxy.port) }),
    ];
  };
  const typeAt = async ({ app }: TicketsApp, url: string) => (await (await open(app, url)).next()).type;

  it('open one stream where both are asked at once, thirty times', async () => {
    const both = await instances();
    for (let round = 0; round < 30; round += 1) {
      const url = both[round % 2]!.with('/sse');
      const types = await Promise.all(both.map((instance) => typeAt(instance, url)));
      expect(types.sort()).toEqual(['message', 'ticket']);
    }
  });

  it('are spent on the other one after the first has closed', async () => {
    const [one, other] = await instances();
    const url = one.with('/sse');
    expect(await typeAt(one, url)).toBe('message');
    await one.app.close();
    expect(await typeAt(other, url)).toBe('ticket');
    expect(await typeAt(other, other.with('/sse'))).toBe('message');
  });

  it('open nothing while the engine is away, and again when it is back', async () => {
    const [one, other] = await instances();
    proxy.refuse();
    proxy.drop();
    const types = await Promise.all([typeAt(one, one.with('/sse')), typeAt(other, one.with('/connect'))]);
    expect(types).toEqual(['ticket', 'ticket']);
    await proxy.accept();
    const opens = async () => (await typeAt(other, one.with('/connect'))) === 'message';
    await waitFor(opens, { timeoutMs: 15_000 });
    expect(other.controller.calls).toBe(1);
  });
});
