import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { Controller, Get, Post, Query, Res } from '@nestjs/common';
import { SseModule, SseService } from 'nestjs-event-stream';
import type { CloseReason, SseConnection, SseModuleOptions } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import { closeAll, open, platforms } from '../../support/apps/platforms.js';
import type { Platform } from '../../support/apps/platforms.js';

@Controller()
class LimitsController {
  readonly connections: SseConnection[] = [];
  readonly sent: boolean[] = [];
  readonly failures: unknown[] = [];

  constructor(private readonly sse: SseService) {}

  @Get('stream')
  stream(@Res() res: object) {
    this.connections.push(this.sse.connect(res));
  }

  @Post('stream')
  streamPost(@Res() res: object) {
    this.connections.push(this.sse.connect(res));
  }

  @Post('awaited')
  awaited(@Res() res: object) {
    return this.sse.stream(res, endless);
  }

  @Post('unawaited')
  unawaited(@Res() res: object) {
    void this.sse.stream(res, endless);
  }

  @Get('timer')
  timer(@Res() res: object) {
    setTimeout(() => this.#sendTwice(res), 0);
  }

  @Post('timer')
  timerPost(@Res() res: object) {
    setTimeout(() => this.#sendTwice(res), 0);
  }

  @Get('expiring')
  expiring(@Res() res: object, @Query('ms') ms: string) {
    this.connections.push(this.sse.connect(res, { expiresAt: new Date(Date.now() + Number(ms)) }));
  }

  @Post('expiring')
  expiringPost(@Res() res: object, @Query('ms') ms: string) {
    this.expiring(res, ms);
  }

  #sendTwice(res: object) {
    try {
      this.sent.push(this.sse.sendSseMessage(res, 'first'));
      this.sent.push(this.sse.sendSseMessage(res, 'second'));
    } catch (error) {
      this.failures.push(error);
    }
  }
}

async function* endless({ signal }: { signal: AbortSignal }) {
  yield 'first';
  await new Promise((resolve) => signal.addEventListener('abort', resolve));
}

const createWith = async (platform: Platform, options: SseModuleOptions) => {
  const app = await platform.create({
    imports: [SseModule.forRoot(options)],
    controllers: [LimitsController],
  });
  return { app, sse: app.get(SseService), controller: app.get(LimitsController) };
};

describe.each(platforms)('maxConnections on $name', (platform) => {
  afterEach(closeAll);

  it('turns a further GET away so that it comes back later, each at a time of its own', async () => {
    const { app, sse, controller } = await createWith(platform, { maxConnections: 2 });
    const streams = await Promise.all([open(app, '/stream'), open(app, '/stream', { method: 'POST' })]);

    const shed = await Promise.all(Array.from({ length: 5 }, () => open(app, '/stream')));

    for (const stream of shed) {
      expect(stream.status).toBe(200);
      expect(stream.headers['content-type']).toBe('text/event-stream; charset=utf-8');
      expect(await stream.body()).toBe(`retry: ${stream.retry}\n`);
      expect(stream.retry).toBeGreaterThanOrEqual(15_000);
      expect(stream.retry).toBeLessThanOrEqual(45_000);
    }
    expect(new Set(shed.map(({ retry }) => retry)).size).toBeGreaterThan(1);
    expect(sse.connections.size).toBe(2);
    for (const connection of controller.connections.slice(2)) {
      expect(connection.send('not for you')).toBe(false);
      expect(await connection.closed).toBe('server');
    }
    controller.connections[0]!.send('for you');
    await streams[0].until(({ events }) => events.length === 1);
  });

  it.each(['/stream', '/awaited', '/unawaited', '/timer'])(
    'answers a further POST with 503 and Retry-After, %s',
    async (path) => {
      const { app, sse, controller } = await createWith(platform, { maxConnections: 1 });
      await open(app, '/stream');

      const shed = await open(app, path, { method: 'POST' });

      expect(shed.status).toBe(503);
      expect(shed.headers['content-type']).toMatch(/^application\/json\b/);
      expect(Number(shed.headers['retry-after'])).toBeGreaterThanOrEqual(15);
      expect(Number(shed.headers['retry-after'])).toBeLessThanOrEqual(45);
      expect(JSON.parse(await shed.body())).toMatchObject({ statusCode: 503 });
      expect(controller.failures).toEqual([]);
      expect(sse.connections.size).toBe(1);
    },
  );

  it.each(['GET', 'POST'])(
    'lets sendSseMessage() say false where it is called from a timer, %s',
    async (method) => {
      const { app, controller } = await createWith(platform, { maxConnections: 1 });
      await open(app, '/stream');

      const shed = await open(app, '/timer', { method });
      await shed.ended;

      await waitFor(() => controller.sent.length + controller.failures.length > 1);
      expect(controller.failures).toEqual([]);
      expect(controller.sent).toEqual([false, false]);
    },
  );

  it('answers a further HEAD with headers alone', async () => {
    const { app } = await createWith(platform, { maxConnections: 1 });
    await open(app, '/stream');

    const shed = await open(app, '/stream', { method: 'HEAD' });

    expect(shed.status).toBe(200);
    expect(await shed.body()).toBe('');
  });

  it('lets the next one in when one has left', async () => {
    const { app, sse } = await createWith(platform, { maxConnections: 1 });
    const first = await open(app, '/stream');
    await first.close();
    await waitFor(() => sse.connections.size === 0);

    const second = await open(app, '/stream');

    await second.until(({ retry }) => retry === 3_000);
    expect(second.ending).toBeUndefined();
  });

  it('never lets in more than that when many come at once', async () => {
    const { app, sse } = await createWith(platform, { maxConnections: 10 });

    const streams = await Promise.all(Array.from({ length: 40 }, () => open(app, '/stream')));

    await Promise.all(streams.map((stream) => stream.until(({ retries }) => retries.length === 1)));
    expect(streams.filter(({ retry }) => retry === 3_000)).toHaveLength(10);
    expect(sse.connections.size).toBe(10);
  });
});

describe.each(platforms)('the time limits on $name', (platform) => {
  afterEach(async () => {
    jest.useRealTimers();
    await closeAll();
  });

  // The clock of the app alone: the client's deadlines run on real time.
  const stopTheClock = () =>
    jest.useFakeTimers({ doNotFake: ['nextTick', 'setImmediate', 'queueMicrotask'] });

  it('end connections within the last tenth of maxConnectionMs, each at a time of its own', async () => {
    const { app, sse, controller } = await createWith(platform, { maxConnectionMs: 100_000 });
    stopTheClock();
    const streams = await Promise.all(Array.from({ length: 50 }, () => open(app, '/stream')));
    const reasons: CloseReason[] = [];
    for (const connection of controller.connections) {
      void connection.closed.then((reason) => reasons.push(reason));
    }

    await jest.advanceTimersByTimeAsync(89_900);
    expect(sse.connections.size).toBe(50);
    await jest.advanceTimersByTimeAsync(6_000);
    expect(sse.connections.size).toBeGreaterThan(0);
    expect(sse.connections.size).toBeLessThan(50);
    // The timer's slots are coarse: it may be late by a fiftieth.
    await jest.advanceTimersByTimeAsync(100_000 - 95_900 + 2_000);

    expect(sse.connections.size).toBe(0);
    expect(reasons).toEqual(Array.from({ length: 50 }, () => 'expired'));
    for (const stream of streams) {
      expect(await stream.ended).toBe('complete');
    }
  });

  it.each([
    ['GET', 'complete'],
    ['POST', 'aborted'],
  ])('end a connection at expiresAt, so that the end of a %s reads as %s', async (method, ending) => {
    const { app, controller } = await createWith(platform, { maxConnectionMs: 1_000_000 });
    stopTheClock();
    const stream = await open(app, '/expiring?ms=60000', { method });

    await jest.advanceTimersByTimeAsync(59_900);
    expect(controller.connections[0]!.signal.aborted).toBe(false);
    await jest.advanceTimersByTimeAsync(1_400);

    expect(await controller.connections[0]!.closed).toBe('expired');
    expect(await stream.ended).toBe(ending);
  });

  it('end a connection at maxConnectionMs where that comes before expiresAt', async () => {
    const { app, controller } = await createWith(platform, { maxConnectionMs: 10_000 });
    stopTheClock();
    await open(app, '/expiring?ms=60000');

    await jest.advanceTimersByTimeAsync(10_300);

    expect(await controller.connections[0]!.closed).toBe('expired');
  });

  it('end a connection at once whose expiresAt has passed, with a retry', async () => {
    const { app, controller } = await createWith(platform, {});

    const stream = await open(app, '/expiring?ms=-60000');

    expect(await stream.body()).toBe('retry: 3000\n');
    expect(await controller.connections[0]!.closed).toBe('expired');
  });
});
