import { afterEach, describe, expect, it } from '@jest/globals';
import { Catch, Controller, Get, UseGuards } from '@nestjs/common';
import type { ArgumentsHost, ExceptionFilter } from '@nestjs/common';
import { SseModule, SseTicketGuard, ticketOf } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import type { SseTestStream } from 'nestjs-event-stream/testing';
import { closeAll, open, platforms } from '../../support/apps/platforms.js';
import { AwayLog } from '../../support/servers/away-log.js';
import { createTicketsApp, SECRET } from './tickets-app.js';

afterEach(closeAll);

/** What a client with a spent ticket gets. */
async function expectTurnedAway(stream: SseTestStream): Promise<void> {
  expect(stream.status).toBe(200);
  expect(stream.headers['content-type']).toMatch(/^text\/event-stream/);
  const event = await stream.next();
  expect(event.type).toBe('ticket');
  const { retryMs } = event.json<{ retryMs: number }>();
  expect(retryMs).toBeGreaterThanOrEqual(900);
  expect(retryMs).toBeLessThanOrEqual(3_000);
  expect(stream.retries).toEqual([3_600_000]);
  expect(stream.events).toHaveLength(1);
}

/** Does something 1,001 ms later, by the clock of the wall. */
async function later(act: () => Promise<void>): Promise<void> {
  const { now } = Date;
  Date.now = () => now() + 1_001;
  try {
    await act();
  } finally {
    Date.now = now;
  }
}

const rows = platforms.flatMap((platform) => [
  { platform, path: '/connect' },
  { platform, path: '/sse' },
]);

describe.each(rows)('a ticket for $path on $platform.name', ({ platform, path }) => {
  it('opens one stream, and tells the handler to whom it was issued', async () => {
    const context = await createTicketsApp(platform);
    const url = context.with(path, { plan: 'pro' });

    const stream = await open(context.app, url);
    expect((await stream.next()).json()).toEqual({ keys: ['anna'], data: { plan: 'pro' } });

    await expectTurnedAway(await open(context.app, url));
    expect(context.controller.calls).toBe(1);
    expect([...context.sse.connections].map(({ keys }) => keys)).toEqual([['anna']]);
  });

  it('opens one of many streams that ask at once', async () => {
    const context = await createTicketsApp(platform);
    const url = context.with(path);
    const streams = await Promise.all(Array.from({ length: 10 }, () => open(context.app, url)));
    const types = await Promise.all(streams.map(async (stream) => (await stream.next()).type));
    expect(types.filter((type) => type === 'message')).toHaveLength(1);
    expect(types.filter((type) => type === 'ticket')).toHaveLength(9);
  });

  it.each([
    ['none', () => ''],
    ['an empty one', () => '?ticket='],
    ['one of another secret', (ticket: string) => `?ticket=${ticket.slice(0, -3)}AAA`],
    ['two', (ticket: string) => `?ticket=${ticket}&ticket=${ticket}`],
    ['a list', (ticket: string) => `?ticket[]=${ticket}`],
  ])('is refused with 401: %s', async (_what, queryOf) => {
    const context = await createTicketsApp(platform);
    const stream = await open(context.app, path + queryOf(context.sse.tickets.issue({ key: 'anna' })));
    expect(stream.status).toBe(401);
    expect(await stream.body()).not.toContain('AAA');
    expect(context.controller.calls).toBe(0);
  });

  it('gets 401 where it is spent and the method is POST', async () => {
    const context = await createTicketsApp(platform);
    const url = context.with(path);
    expect((await open(context.app, url, { method: 'POST' })).status).toBeLessThan(300);
    expect((await open(context.app, url, { method: 'POST' })).status).toBe(401);
  });
});

describe.each(platforms)('tickets on $name', (platform) => {
  it('open nothing while the log is away, with the answer of a spent one, and stand in no log line', async () => {
    const log = new AwayLog();
    const lines: string[] = [];
    const write = (...parts: unknown[]) => void lines.push(parts.map(String).join(' '));
    const logger = { log: write, warn: write, error: write, debug: write, verbose: write, fatal: write };
    const context = await createTicketsApp(platform, { log: () => log }, { logger });
    const url = context.with('/connect');
    log.isAway = true;
    await expectTurnedAway(await open(context.app, url));
    expect(context.controller.calls).toBe(0);
    log.isAway = false;

    // The engine had not got it.
    expect((await (await open(context.app, url)).next()).type).toBe('message');
    await expectTurnedAway(await open(context.app, url));
    await open(context.app, `${url}x`);
    expect(lines.filter((line) => line.includes('Tickets open no stream at the moment'))).toHaveLength(1);
    expect(lines.filter((line) => line.includes(url.split('=')[1]!.slice(0, 20)))).toEqual([]);
  });

  it('are answered by the guard alone: no filter and no later guard sees a spent one', async () => {
    const caught: unknown[] = [];
    @Catch()
    class Everything implements ExceptionFilter {
      catch(error: unknown, host: ArgumentsHost) {
        caught.push(error);
        const response = host
          .switchToHttp()
          .getResponse<{ code?(n: number): void; status(n: number): { send(text: string): void } }>();
        response.status(418).send('caught');
      }
    }
    const context = await createTicketsApp(
      platform,
      {},
      { configure: (app) => app.useGlobalFilters(new Everything()) },
    );
    const url = context.with('/sse');
    const stream = await open(context.app, url);
    await stream.next();
    await expectTurnedAway(await open(context.app, url));
    expect(caught).toEqual([]);
    expect((await open(context.app, '/sse')).status).toBe(418);
  });

  it('take no place when they are turned away', async () => {
    const context = await createTicketsApp(platform, { maxConnections: 1 });
    const url = context.with('/sse');
    await open(context.app, url);
    const stream = await open(context.app, url);
    await expectTurnedAway(stream);
    await stream.close();
    // Shed, and not turned away: the ticket is good. It is spent all the same.
    const shed = await open(context.app, context.with('/sse'));
    await waitFor(() => shed.retries.length > 0);
    expect(shed.retries[0]).toBeGreaterThanOrEqual(15_000);
    expect(shed.events).toEqual([]);
  });
});

describe('tickets', () => {
  const [platform] = platforms;

  it('open nothing after their time', async () => {
    const context = await createTicketsApp(platform!, { tickets: { secret: SECRET, ttlMs: 1_000 } });
    const url = context.with('/sse');
    await later(async () => expectTurnedAway(await open(context.app, url)));
  });

  it('of the process before, whose memory is gone, open nothing', async () => {
    const before = await createTicketsApp(platform!);
    const url = before.with('/sse');
    await open(before.app, url);
    await closeAll();
    await later(async () => {
      const context = await createTicketsApp(platform!);
      await expectTurnedAway(await open(context.app, url));
    });
  });

  it('are redeemed of a secret that is being replaced', async () => {
    const next = 'another secret of many characters';
    const context = await createTicketsApp(platform!, { tickets: { secret: [next, SECRET] } });
    const { tickets } = (await createTicketsApp(platform!, { tickets: { secret: SECRET } })).sse;
    const url = `/sse?ticket=${tickets.issue({ key: ['anna', 'acme'] })}`;
    const stream = await open(context.app, url);
    expect((await stream.next()).json()).toEqual({ keys: ['anna', 'acme'] });
  });

  it.each([
    ['an empty key', { key: '' }, 'key'],
    ['no key', {}, 'key'],
    ['keys without end', { key: Array.from({ length: 9 }, (_, n) => String(n)) }, 'key'],
    ['data that is no JSON', { key: 'a', data: 1n }, 'data'],
    ['a function', { key: 'a', data: () => 1 }, 'data'],
    ['data that is too long for a URL', { key: 'a', data: 'x'.repeat(4_000) }, 'data'],
  ])('are not issued with %s', async (_what, given, field) => {
    const { sse } = await createTicketsApp(platform!);
    const issuing = async () => sse.tickets.issue(given as never);
    await expect(issuing()).rejects.toMatchObject({ code: 'options-invalid', field });
  });

  it.each([
    ['a short secret', { secret: 'hunter2' }],
    ['no secret', {}],
    ['an empty list', { secret: [] }],
    ['a list with a short one', { secret: [SECRET, 'hunter2'] }],
  ])('refuse %s at the start, and do not print it', async (_what, tickets) => {
    const starting = createTicketsApp(platform!, { tickets: tickets as never });
    await expect(starting).rejects.toMatchObject({ code: 'options-invalid', field: 'tickets.secret' });
    await expect(starting).rejects.not.toThrow('hunter2');
  });

  it('are refused at the start where the option is missing', async () => {
    @Controller()
    class Guarded {
      @Get()
      @UseGuards(SseTicketGuard)
      get() {
        return 'never';
      }
    }
    const starting = platform!.create({ imports: [SseModule.forRoot()], controllers: [Guarded] });
    await expect(starting).rejects.toMatchObject({ code: 'misuse' });
  });

  it('are unknown of a request that no guard has seen', () => {
    expect(ticketOf({})).toBeUndefined();
    expect(ticketOf(undefined)).toBeUndefined();
  });
});
