import type { ServerResponse } from 'node:http';
// Not the global one, which some tests stop.
import { setTimeout } from 'node:timers';
import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { Controller, Get, Post, Res } from '@nestjs/common';
import { SseModule, SseService } from 'nestjs-event-stream';
import type { CloseReason, SseConnection, SseModuleOptions } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import { ConnectionRegistry } from '../../../lib/connection/index.js';
import { closeAll, open, platforms } from '../../support/apps/platforms.js';
import type { Platform } from '../../support/apps/platforms.js';

@Controller()
class SlowController {
  readonly connections: SseConnection[] = [];
  readonly responses: ServerResponse[] = [];

  constructor(private readonly sse: SseService) {}

  @Get('stream')
  stream(@Res() res: object) {
    this.connections.push(this.sse.connect(res, { heartbeatMs: false }));
  }

  @Post('stream')
  streamPost(@Res() res: object) {
    this.stream(res);
  }

  @Get('heartbeats')
  heartbeats(@Res() res: ServerResponse & { raw?: ServerResponse }) {
    this.responses.push(res.raw ?? res);
    this.connections.push(this.sse.connect(res));
  }

  @Get('snapshot')
  snapshot(@Res() res: object) {
    const connection = this.sse.connect(res);
    connection.send('x'.repeat(100_000));
  }

  @Get('status-and-snapshot')
  statusAndSnapshot(@Res() res: object) {
    const connection = this.sse.connect(res);
    connection.send('ready');
    connection.send('x'.repeat(100_000));
  }
}

const createWith = async (platform: Platform, options: SseModuleOptions) => {
  const app = await platform.create({ imports: [SseModule.forRoot(options)], controllers: [SlowController] });
  const { connections, responses } = app.get(SlowController);
  return { app, sse: app.get(SseService), connections, responses };
};

const KILOBYTE = 'x'.repeat(1_000);

/** Sends until a client that is paused can be told from one that is only a moment behind. */
async function fill(connection: SseConnection, data = KILOBYTE): Promise<void> {
  for (;;) {
    while (connection.send(data)) {
      // Until the client takes no more.
    }
    const isStuck = await Promise.race([
      connection.drained().then(() => false),
      new Promise<true>((resolve) => setTimeout(resolve, 200, true)),
    ]);
    if (isStuck) {
      return;
    }
  }
}

describe.each(platforms)('a client that does not read, on $name', (platform) => {
  afterEach(async () => {
    jest.useRealTimers();
    await closeAll();
  });

  it('is told of by send(), and waited for with drained()', async () => {
    const { app, connections } = await createWith(platform, { maxBufferedBytes: 50_000_000 });
    const stream = await open(app, '/stream');
    const [connection] = connections;
    expect(connection!.send('small')).toBe(true);
    await connection!.drained();
    stream.pause();

    await fill(connection!);
    let hasDrained = false;
    const drained = connection!.drained().then(() => (hasDrained = true));
    expect(connection!.send('one more')).toBe(false);
    expect(hasDrained).toBe(false);
    stream.resume();

    await drained;
    expect(connection!.send('caught up')).toBe(true);
    await stream.until(({ events }) => events.at(-1)?.data === 'caught up');
    expect(stream.events.at(-2)?.data).toBe('one more');
  });

  it.each<[string, CloseReason, (context: { connection: SseConnection; leave: () => unknown }) => unknown]>([
    ['leaves', 'client', ({ leave }) => leave()],
    ['is sent away', 'server', ({ connection }) => connection.close()],
  ])('does not hold up drained() when it %s', async (_how, reason, act) => {
    const { app, connections } = await createWith(platform, { maxBufferedBytes: 50_000_000 });
    const stream = await open(app, '/stream');
    stream.pause();
    const [connection] = connections;
    await fill(connection!);

    const drained = connection!.drained();
    await act({ connection: connection!, leave: () => stream.close() });

    await drained;
    expect(await connection!.closed).toBe(reason);
    await connection!.drained();
  });

  it.each(['GET', 'POST'])(
    'is closed as slow past maxBufferedBytes, and disturbs nobody, %s',
    async (method) => {
      const { app, sse, connections } = await createWith(platform, { maxBufferedBytes: 300_000 });
      const slow = await open(app, '/stream', { method });
      const reader = await open(app, '/stream', { method });
      slow.pause();
      const [slowConnection, readerConnection] = connections;
      let sent = 0;
      while (!slowConnection!.signal.aborted) {
        slowConnection!.send({ data: KILOBYTE, id: sent });
        readerConnection!.send({ data: KILOBYTE, id: sent });
        sent += 1;
        await readerConnection!.drained();
      }

      expect(await slowConnection!.closed).toBe('slow');
      expect(slowConnection!.send('more')).toBe(false);
      expect(slowConnection!.comment('more')).toBe(false);
      expect([...sse.connections]).toEqual([readerConnection]);
      readerConnection!.send('end');
      await reader.until(({ events }) => events.at(-1)?.data === 'end');
      expect(reader.events.map(({ id }) => id)).toEqual([
        ...Array.from({ length: sent }, (_, n) => `${n}`),
        undefined,
      ]);
      slow.resume();
      expect(await slow.ended).toBe('aborted');
    },
  );

  it.each(['by close()', 'by hand'])('is waited for 30 s where its response was ended %s', async (how) => {
    const { app, sse, connections, responses } = await createWith(platform, { maxBufferedBytes: 50_000_000 });
    const { wheel } = app.get(ConnectionRegistry);
    // The clock of the app alone: the client's deadlines run on real time.
    jest.useFakeTimers({ doNotFake: ['nextTick', 'setImmediate', 'queueMicrotask'] });
    const stream = await open(app, '/heartbeats');
    stream.pause();
    const [connection] = connections;
    await fill(connection!);

    if (how === 'by hand') {
      responses[0]!.end();
    } else {
      connection!.close();
    }
    await jest.advanceTimersByTimeAsync(29_000);
    expect(stream.ending).toBeUndefined();
    // By hand, it is noticed at the next heartbeat.
    await jest.advanceTimersByTimeAsync(30_000);

    expect(await connection!.closed).toBe('server');
    jest.useRealTimers();
    await waitFor(() => sse.connections.size === 0 && wheel.size === 0);
    stream.resume();
    expect(await stream.ended).toBe('aborted');
  });

  it('has its bytes counted as UTF-8, as maxBufferedBytes says', async () => {
    const { app, connections } = await createWith(platform, { maxBufferedBytes: 2_000_000 });
    const stream = await open(app, '/stream');
    stream.pause();
    const [connection] = connections;
    await fill(connection!);

    let bytes = 0;
    while (!connection!.signal.aborted) {
      connection!.send('字'.repeat(1_000));
      bytes += 3_000;
    }

    expect(bytes).toBeLessThan(2_010_000);
    expect(await connection!.closed).toBe('slow');
  });
});

describe.each(platforms)('a client that reads, on $name', (platform) => {
  afterEach(closeAll);

  it.each(['/snapshot', '/status-and-snapshot'])(
    'is not slow for one event beyond the bound, %s',
    async (path) => {
      const { app } = await createWith(platform, { maxBufferedBytes: 20_000 });

      const stream = await open(app, path);

      await stream.until(({ events }) => events.at(-1)?.data.length === 100_000);
      expect(stream.ending).toBeUndefined();
    },
  );
});
