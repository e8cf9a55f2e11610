import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { Controller, Get, Post, Query, Res, Sse } from '@nestjs/common';
import { NEVER } from 'rxjs';
import { Connection, SseModule, SseService } from 'nestjs-event-stream';
import type { SseConnection, SseModuleOptions } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import { Limits } from '../../../lib/limits/index.js';
import { closeAll, open, platforms } from '../../support/apps/platforms.js';

async function* answerOf(signal: AbortSignal): AsyncGenerator<string> {
  yield 'first';
  await new Promise((resolve) => signal.addEventListener('abort', resolve));
}

@Controller()
class LimitedController {
  constructor(private readonly sse: SseService) {}

  @Sse('sse')
  served() {
    return NEVER;
  }

  @Get('connect')
  connect(@Res() res: object) {
    this.sse.connect(res);
  }

  @Get('done')
  done(@Res() res: object) {
    this.sse.connect(res).close();
  }

  @Post('stream')
  stream(@Res() res: object) {
    return this.sse.stream(res, ({ signal }) => answerOf(signal));
  }

  @Post('timer')
  timer(@Res() res: object) {
    setTimeout(() => this.sse.sendSseMessage(res, 'first'), 0);
  }

  @Sse('follow')
  follow(@Connection() connection: SseConnection, @Query('patterns') patterns: string) {
    return connection.follow(patterns.split(','));
  }
}

const logger = { log: jest.fn(), warn: jest.fn<(text: string) => void>(), error: jest.fn() };

/** The keys stand in the header. */
const keyOf = ({ headers }: { headers: Record<string, string> }) => headers['x-keys']?.split(',');

describe.each(platforms)('limits for each key on $name', (platform) => {
  afterEach(async () => {
    await closeAll();
    jest.clearAllMocks();
  });

  const create = async (limits: SseModuleOptions['limits']) => {
    const app = await platform.create(
      { imports: [SseModule.forRoot({ keyOf, limits })], controllers: [LimitedController] },
      { logger },
    );
    const openAs = (keys: string, path: string, method = 'GET') =>
      open(app, path, { method, headers: { 'x-keys': keys } });
    return { app, openAs, sse: app.get(SseService), limits: app.get(Limits) };
  };

  it('sheds a GET past connectionsPerKey, and answers other methods with 429', async () => {
    const { openAs, sse, limits } = await create({ connectionsPerKey: 2 });
    await openAs('ada', '/sse');
    await openAs('ada', '/stream', 'POST');
    await waitFor(() => sse.connections.size === 2);
    expect(limits.reached.connectionsPerKey).toBe(0);

    for (const path of ['/sse', '/connect']) {
      const shed = await openAs('ada', path);
      await shed.until(({ retry }) => retry !== undefined);
      expect(shed.status).toBe(200);
      expect(shed.retry).toBeGreaterThanOrEqual(15_000);
      expect(shed.retry).toBeLessThanOrEqual(45_000);
    }
    for (const path of ['/stream', '/timer']) {
      const refused = await openAs('ada', path, 'POST');
      expect(refused.status).toBe(429);
      expect(Number(refused.headers['retry-after'])).toBeGreaterThanOrEqual(15);
      expect(Number(refused.headers['retry-after'])).toBeLessThanOrEqual(45);
    }
    expect(limits.reached.connectionsPerKey).toBe(4);
    expect(logger.warn.mock.calls.map(([text]) => text)).toEqual([
      'The key "ada" has reached limits.connectionsPerKey (2): a client was turned away.',
    ]);
    expect(sse.connections.size).toBe(2);
    expect((await openAs('bob', '/sse')).status).toBe(200);
    await waitFor(() => sse.connections.size === 3);
  });

  it('frees the place of a client that leaves, and keeps no key without one', async () => {
    const { openAs, sse, limits } = await create({ connectionsPerKey: 1 });
    for (let times = 0; times < 3; times += 1) {
      const stream = await openAs('ada', '/connect');
      await waitFor(() => sse.connections.size === 1);
      await stream.close();
      await waitFor(() => limits.connections.size === 0);
    }
    expect(await (await openAs('ada', '/done')).body()).toContain('retry: 3000');
    await waitFor(() => limits.connections.size === 0);
    expect(limits.reached.connectionsPerKey).toBe(0);
  });

  it('counts each key of a connection', async () => {
    const { openAs, sse } = await create({ connectionsPerKey: 2 });
    await Promise.all(['ada,acme', 'bob,acme'].map((keys) => openAs(keys, '/connect')));
    await waitFor(() => sse.connections.size === 2);

    await openAs('eve,acme', '/connect');
    expect((await openAs('eve,acme', '/stream', 'POST')).status).toBe(429);
    expect(sse.connections.size).toBe(2);
    expect((await openAs('eve,other', '/stream', 'POST')).status).toBe(200);
  });

  it('turns away a key past connectsPerKeyPerMinute, though its streams are closed', async () => {
    const { openAs, limits } = await create({ connectsPerKeyPerMinute: 3 });
    for (let times = 0; times < 3; times += 1) {
      expect((await openAs('ada', '/stream', 'POST')).status).toBe(200);
    }
    expect(limits.reached.connectsPerKeyPerMinute).toBe(0);

    const shed = await openAs('ada', '/connect');
    await shed.until(({ retry }) => retry !== undefined);
    expect([shed.status, shed.retry! >= 15_000]).toEqual([200, true]);
    const refused = await openAs('ada', '/stream', 'POST');
    expect([refused.status, Number(refused.headers['retry-after']) >= 15]).toEqual([429, true]);
    expect(limits.reached.connectsPerKeyPerMinute).toBe(2);
    expect((await openAs('bob', '/stream', 'POST')).status).toBe(200);
  });

  it('refuses more patterns than patternsPerConnection with a 400', async () => {
    const { openAs, limits } = await create({ patternsPerConnection: 2 });

    expect((await openAs('ada', '/follow?patterns=a,b')).status).toBe(200);
    expect(limits.reached.patternsPerConnection).toBe(0);
    expect((await openAs('ada', '/follow?patterns=a,b,c.*')).status).toBe(400);
    expect(limits.reached.patternsPerConnection).toBe(1);
  });

  it('closes the client for which most waits past queuedBytesPerKey', async () => {
    const { openAs, sse, limits } = await create({ queuedBytesPerKey: 1_000_000 });
    for (const [index, keys] of ['ada', 'ada', 'bob'].entries()) {
      await openAs(keys, '/connect');
      await waitFor(() => sse.connections.size === index + 1);
    }
    const [large, small, other] = [...sse.connections];
    // Within a turn nothing leaves. What a client had before its socket was full, up to 64 KiB, is not counted.
    const send = (connection: SseConnection, count: number) => {
      for (let n = 0; n < count; n += 1) {
        connection.send(`${n} ${'x'.repeat(9_980)}`);
      }
    };
    send(large!, 60);
    send(small!, 30);
    send(other!, 90);
    expect([sse.connections.size, limits.reached.queuedBytesPerKey]).toEqual([3, 0]);

    send(small!, 30);
    expect([sse.connections.size, limits.reached.queuedBytesPerKey]).toEqual([2, 1]);
    expect(await large!.closed).toBe('slow');
    expect(logger.warn.mock.calls.at(-1)![0]).toContain('has reached limits.queuedBytesPerKey (1000000)');
  });

  it('closes the client for which most waits past queuedBytes, and counts what all get once', async () => {
    const { openAs, sse, limits } = await create({ queuedBytes: 1_000_000 });
    for (const size of [1, 2, 3]) {
      await openAs(`user ${size}`, '/connect');
      await waitFor(() => sse.connections.size === size);
    }
    const connections = [...sse.connections];
    connections.forEach((connection) => connection.send('x'.repeat(600_000)));
    connections[1]!.send('y'.repeat(300_000));
    expect([sse.connections.size, limits.reached.queuedBytes]).toEqual([3, 0]);

    connections[2]!.send('z'.repeat(300_000));
    expect([sse.connections.size, limits.reached.queuedBytes]).toEqual([2, 1]);
    expect(await connections[0]!.closed).toBe('slow');
  });

  it('limits no client without a key', async () => {
    const app = await platform.create({
      imports: [SseModule.forRoot({ limits: { connectionsPerKey: 1, connectsPerKeyPerMinute: 1 } })],
      controllers: [LimitedController],
    });
    await Promise.all([1, 2, 3].map(() => open(app, '/connect')));
    await waitFor(() => app.get(SseService).connections.size === 3);
  });
});
