// Not the global one, which the tests stop.
import { setTimeout } from 'node:timers';
import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { Controller, Get, Res } from '@nestjs/common';
import { SseModule, SseService } from 'nestjs-event-stream';
import type { SseConnection, SseModuleOptions } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import { closeAll, open, platforms } from '../../support/apps/platforms.js';
import type { Platform } from '../../support/apps/platforms.js';

@Controller()
class HeartbeatController {
  readonly connections: SseConnection[] = [];

  constructor(private readonly sse: SseService) {}

  @Get('stream')
  stream(@Res() res: object) {
    this.connections.push(this.sse.connect(res));
  }

  @Get('silent')
  silent(@Res() res: object) {
    this.connections.push(this.sse.connect(res, { heartbeatMs: false }));
  }
}

const createWith = async (platform: Platform, options?: SseModuleOptions) => {
  const app = await platform.create({
    imports: [SseModule.forRoot(options)],
    controllers: [HeartbeatController],
  });
  return { app, connections: app.get(HeartbeatController).connections };
};

describe.each(platforms)('the heartbeat on $name', (platform) => {
  afterEach(async () => {
    jest.useRealTimers();
    await closeAll();
  });

  // The clock of the app alone: the client's deadlines run on real time.
  const stopTheClock = () =>
    jest.useFakeTimers({ doNotFake: ['nextTick', 'setImmediate', 'queueMicrotask'] });

  it('comes after 15 s of silence, and again after each 15 s more', async () => {
    const { app } = await createWith(platform);
    stopTheClock();
    const stream = await open(app, '/stream');
    await stream.until(({ retries }) => retries.length === 1);

    await jest.advanceTimersByTimeAsync(14_900);
    expect(stream.raw).toBe('retry: 3000\n');
    await jest.advanceTimersByTimeAsync(500);
    await stream.until(({ comments }) => comments.length === 1);
    await jest.advanceTimersByTimeAsync(15_500);
    await stream.until(({ comments }) => comments.length === 2);

    expect(stream.raw).toBe('retry: 3000\n:\n:\n');
    expect(stream.events).toEqual([]);
  });

  it('waits for 15 s since the last byte, whether of an event or of a comment', async () => {
    const { app, connections } = await createWith(platform);
    stopTheClock();
    const stream = await open(app, '/stream');

    await jest.advanceTimersByTimeAsync(10_000);
    connections[0]!.send('event');
    await jest.advanceTimersByTimeAsync(10_000);
    connections[0]!.comment('comment');
    await jest.advanceTimersByTimeAsync(14_900);
    connections[0]!.send('end');
    await stream.until(({ raw }) => raw.endsWith('end\n\n'));
    expect(stream.raw).toBe('retry: 3000\ndata: event\n\n: comment\ndata: end\n\n');

    await jest.advanceTimersByTimeAsync(15_500);
    await stream.until(({ raw }) => raw.endsWith('end\n\n:\n'));
  });

  it('is left out where a connection wants none', async () => {
    const { app } = await createWith(platform);
    stopTheClock();
    const silent = await open(app, '/silent');
    const other = await open(app, '/stream');

    await jest.advanceTimersByTimeAsync(60_000);

    await other.until(({ comments }) => comments.length >= 3);
    expect(silent.raw).toBe('retry: 3000\n');
  });

  it('costs one timer for all connections, and none when they have left', async () => {
    const { app, connections } = await createWith(platform);
    stopTheClock();
    const before = jest.getTimerCount();

    const streams = await Promise.all(Array.from({ length: 30 }, () => open(app, '/stream')));

    expect(connections).toHaveLength(30);
    expect(jest.getTimerCount() - before).toBe(1);
    await Promise.all(streams.map((stream) => stream.close()));
    await waitFor(() => jest.getTimerCount() === before);
  });

  it('does not add to what waits for a client that reads nothing', async () => {
    const { app, connections } = await createWith(platform, { maxBufferedBytes: 50_000_000 });
    stopTheClock();
    const stream = await open(app, '/stream');
    stream.pause();
    // Until the client's side takes no more either.
    let isKeepingUp = true;
    do {
      while (connections[0]!.send('x'.repeat(100_000))) {
        // Until the client takes no more.
      }
      isKeepingUp = await Promise.race([
        connections[0]!.drained().then(() => true),
        new Promise<false>((resolve) => setTimeout(resolve, 200, false)),
      ]);
    } while (isKeepingUp);

    await jest.advanceTimersByTimeAsync(10 * 60_000);

    jest.useRealTimers();
    stream.resume();
    connections[0]!.send('end');
    await stream.until(({ events }) => events.at(-1)?.data === 'end');
    expect(stream.comments).toEqual([]);
  });

  it('stands between frames, never within one', async () => {
    const { app, connections } = await createWith(platform, { heartbeatMs: 10 });
    const stream = await open(app, '/stream');
    await waitFor(() => connections.length === 1);
    const frames = ['retry: 3000\n'];
    for (let n = 0; n < 60; n += 1) {
      // Large ones leave in many pieces.
      const data = `${n} `.padEnd(n % 3 === 0 ? 300_000 : 10, 'x');
      connections[0]!.send({ data, id: n, type: 'frame' });
      frames.push(`event: frame\ndata: ${data}\nid: ${n}\n\n`);
      const comments = stream.comments.length;
      if (n % 5 === 0) {
        await stream.until((current) => current.comments.length > comments);
      }
      await connections[0]!.drained();
    }
    await stream.until(({ events }) => events.length === 60);

    let rest = stream.raw;
    for (const frame of frames) {
      while (rest.startsWith(':\n')) {
        rest = rest.slice(2);
      }
      expect(rest.slice(0, frame.length) === frame).toBe(true);
      rest = rest.slice(frame.length);
    }
    expect(rest.replaceAll(':\n', '')).toBe('');
  });
});
