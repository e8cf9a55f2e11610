import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { Controller, Get, Query, Res } from '@nestjs/common';
import { SseModule, SseService } from 'nestjs-event-stream';
import type { CloseReason, SseModuleOptions } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import { Crowd } from '../support/clients/crowd.js';
import { Leftovers } from '../support/leftovers.js';
import { baseOf, closeAll, open, platforms } from '../support/apps/platforms.js';
import type { Platform } from '../support/apps/platforms.js';

const HOUR_MS = 3_600_000;

@Controller()
class HubController {
  readonly reasons: CloseReason[] = [];
  /** The moment at which the right of all these clients expires. */
  expiresAt = new Date(Date.now() + HOUR_MS);

  constructor(private readonly sse: SseService) {}

  @Get('connect')
  connect(@Res() res: object, @Query('group') group: string) {
    const options = group === 'expiring' ? { expiresAt: this.expiresAt } : {};
    const connection = this.sse.connect(res, { ...options, data: group });
    void connection.closed.then((reason) => this.reasons.push(reason));
  }
}

async function start(platform: Platform, options: SseModuleOptions = {}) {
  const app = await platform.create({
    imports: [SseModule.forRoot(options)],
    controllers: [HubController],
  });
  const { connections } = app.get(SseService);
  return {
    app,
    base: baseOf(app),
    hub: app.get(HubController),
    leftovers: new Leftovers(app),
    connections,
    broadcast: (event: string) => Array.from(connections, (connection) => connection.send(event)),
  };
}

afterEach(async () => {
  jest.restoreAllMocks();
  await closeAll();
});

describe.each(platforms)('on $name, thousands of streams', (platform) => {
  it('whose right expires at the same time are closed, while the others go on', async () => {
    const { app, base, hub, leftovers, connections, broadcast } = await start(platform);
    const bystander = await open(app, '/connect?group=staying');
    hub.expiresAt = new Date(Date.now() + 3_000);
    const crowd = await Crowd.open(
      base,
      platform.http2,
      Array<string>(1_000).fill('/connect?group=expiring'),
    );
    await crowd.until(({ isComplete }) => isComplete);
    await waitFor(() => connections.size === 1);
    expect(hub.reasons).toEqual(Array(1_000).fill('expired'));
    broadcast('after');
    expect((await bystander.next()).data).toBe('after');
    await bystander.close();
    await leftovers.none();
    crowd.leave();
  });

  it('are closed by connections.close(predicate), while the others go on', async () => {
    const { app, base, hub, leftovers, connections, broadcast } = await start(platform);
    const bystander = await open(app, '/connect?group=staying');
    const crowd = await Crowd.open(base, platform.http2, Array<string>(1_000).fill('/connect?group=leaving'));
    broadcast('before');
    expect(connections.close(({ data }) => data === 'leaving')).toBe(1_000);
    expect(connections.size).toBe(1);
    broadcast('after');
    await crowd.until(({ isComplete }) => isComplete);
    expect(crowd.members.every(({ data }) => data.join() === 'before')).toBe(true);
    expect((await bystander.take(2)).map(({ data }) => data)).toEqual(['before', 'after']);
    await waitFor(() => hub.reasons.length === 1_000);
    expect(hub.reasons).toEqual(Array(1_000).fill('server'));
    await bystander.close();
    await leftovers.none();
    crowd.leave();
  });
});

describe.each(platforms)('on $name, a clock', (platform) => {
  it.each([
    ['forward', 2 * HOUR_MS],
    ['back', -2 * HOUR_MS],
  ])('that is set %s by hours ends no stream and stops no heartbeat', async (_, ms) => {
    const { app, leftovers, connections } = await start(platform, {
      heartbeatMs: 20,
      maxConnectionMs: HOUR_MS,
    });
    const streams = await Promise.all([
      open(app, '/connect?group=expiring'),
      open(app, '/connect?group=staying'),
    ]);
    await Promise.all(streams.map((stream) => stream.until(({ comments }) => comments.length > 2)));
    const now = Date.now;
    jest.spyOn(Date, 'now').mockImplementation(() => now() + ms);
    await Promise.all(streams.map((stream) => stream.until(({ comments }) => comments.length > 10)));
    expect(connections.size).toBe(2);
    await Promise.all(streams.map((stream) => stream.close()));
    await leftovers.none();
  });

  it('that a process has slept through brings one heartbeat, not all that were missed', async () => {
    const heartbeatMs = 150;
    const { app, leftovers } = await start(platform, { heartbeatMs });
    const stream = await open(app, '/connect?group=staying');
    await stream.until(({ comments }) => comments.length === 1);
    const begin = performance.now();
    while (performance.now() - begin < 10 * heartbeatMs) {
      // Blocks the event loop, like a suspended machine or a handler that computes.
    }
    const awake = performance.now();
    await stream.until(({ comments }) => comments.length > 1);
    const dueSince = Math.floor((performance.now() - awake) / heartbeatMs);
    expect(stream.comments.length).toBeLessThanOrEqual(2 + dueSince);
    await stream.close();
    await leftovers.none();
  });
});
