import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { Controller, Get, Param, Post, Query, Res, Sse } from '@nestjs/common';
import type { INestApplication } from '@nestjs/common';
import { Connection, SseModule, SseService } from 'nestjs-event-stream';
import type { Position, SseConnection, SseModuleOptions } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import { Limits } from '../../../lib/limits/index.js';
import { Topics } from '../../../lib/topics/index.js';
import { closeAll, open, platforms } from '../../support/apps/platforms.js';

@Controller()
class FollowController {
  @Sse('follow')
  follow(@Connection() connection: SseConnection, @Query('pattern') pattern: string) {
    return connection.follow(pattern);
  }
}

const keyOf = ({ headers }: { headers: Record<string, string> }) => headers['x-key'];
const EVENTS = 2_400;

@Controller('runs')
class RunsController {
  constructor(private readonly sse: SseService) {}

  @Get(':owner/:id')
  attach(@Res() res: object, @Param('owner') owner: string, @Param('id') id: string) {
    return this.sse.runs.of(owner).attach(res, id);
  }

  @Post(':owner/:id')
  attachByPost(@Res() res: object, @Param('owner') owner: string, @Param('id') id: string) {
    return this.attach(res, owner, id);
  }
}

const ITEMS = 1_200;

describe.each(platforms)('a client that attaches to a run on $name', (platform) => {
  let app: INestApplication;
  let limits: Limits;

  afterEach(closeAll);

  const create = async (replayEventsPerKeyPerMinute: number) => {
    app = await platform.create({
      imports: [SseModule.forRoot({ limits: { replayEventsPerKeyPerMinute } })],
      controllers: [RunsController],
    });
    limits = app.get(Limits);
    const { runs } = app.get(SseService);
    for (const owner of ['ada', 'bob']) {
      await runs.of(owner).start('long', async function* () {
        yield* Array.from({ length: ITEMS }, (_item, n) => n);
      });
      await waitFor(async () => (await runs.of(owner).status('long'))?.state === 'ended');
    }
  };

  it('gets all of it just below the budget of its owner', async () => {
    await create(2 * ITEMS);
    const stream = await open(app, '/runs/ada/long');
    await stream.untilEnd();
    expect(stream.events).toHaveLength(ITEMS);
    expect(limits.reached.replayEventsPerKeyPerMinute).toBe(0);
  });

  it('is cut past the budget of its owner, told when to come back, and another owner is not', async () => {
    await create(100);
    const first = await open(app, '/runs/ada/long');
    expect(await first.untilEnd()).toBe('aborted');
    expect(first.events.length).toBeLessThan(ITEMS);
    expect(first.retry).toBe(30_000);

    const again = await open(app, '/runs/ada/long');
    await again.until(({ retry }) => retry !== undefined);
    expect([again.status, again.events, again.retry! > 3_000]).toEqual([200, [], true]);
    const posted = await open(app, '/runs/ada/long', { method: 'POST' });
    expect([posted.status, Number(posted.headers['retry-after']) > 0]).toEqual([429, true]);
    expect(limits.reached.replayEventsPerKeyPerMinute).toBe(3);

    const other = await open(app, '/runs/bob/long');
    await other.until(({ events }) => events.length > 100);
  });
});

describe.each(platforms)('a client that resumes on $name', (platform) => {
  let app: INestApplication;
  let limits: Limits;
  let first: Position;
  let last: Position;

  afterEach(closeAll);

  const create = async (settings: SseModuleOptions['limits']) => {
    app = await platform.create({
      imports: [SseModule.forRoot({ keyOf, limits: settings, ringEvents: 10 })],
      controllers: [FollowController],
    });
    limits = app.get(Limits);
    const sse = app.get(SseService);
    first = await sse.publish('loud', 0);
    for (let n = 1; n < EVENTS; n += 1) {
      last = await sse.publish('loud', n);
    }
  };
  const resume = (pattern: string, lastEventId: string, key = 'ada') =>
    open(app, `/follow?pattern=${pattern}`, { lastEventId, headers: { 'x-key': key } });

  it('gets all it missed just below the budget of its key', async () => {
    await create({ replayEventsPerKeyPerMinute: EVENTS });
    const stream = await resume('loud', first);
    await stream.until(({ events }) => events.at(-1)?.id === last);
    expect(stream.events).toHaveLength(EVENTS - 1);
    expect(limits.reached.replayEventsPerKeyPerMinute).toBe(0);
  });

  it('gets a reset past the budget of its key, and another key does not', async () => {
    // One page may be read, and the next one in minutes.
    await create({ replayEventsPerKeyPerMinute: 100 });
    const stream = await resume('loud', first);
    await stream.until(({ events }) => events.some(({ type }) => type === 'reset'));
    const { data, id } = stream.events.find(({ type }) => type === 'reset')!;
    expect([data, id]).toEqual(['{"reason":"limit"}', last]);
    expect(limits.reached.replayEventsPerKeyPerMinute).toBeGreaterThan(0);
    expect(app.get(Topics).counts.resets.limit).toBe(1);

    const other = await resume('loud', first, 'bob');
    await other.until(({ events }) => events.length > 100);
  });

  it('waits if its key has something left before long', async () => {
    await create({});
    jest.spyOn(limits, 'reserveReplay').mockReturnValueOnce(50).mockReturnValueOnce(50);
    const begun = performance.now();
    const stream = await resume('loud', first);
    await stream.until(({ events }) => events.at(-1)?.id === last);
    expect(performance.now() - begun).toBeGreaterThanOrEqual(100);
    expect(stream.events).toHaveLength(EVENTS - 1);
  });

  it('is told its place if it got nothing, so that the log is not read again', async () => {
    await create({ replayEventsPerKeyPerMinute: EVENTS });
    const stream = await resume('quiet', first);
    await stream.until(({ events }) => events.length > 0);
    expect(stream.events.map(({ type, id }) => [type, id])).toEqual([['cursor', last]]);

    const counts = app.get(Topics).counts;
    const read = counts.log;
    const again = await resume('quiet', stream.lastEventId);
    await app.get(SseService).publish('quiet', 'now');
    await again.until(({ events }) => events.length > 0);
    // It is where it was: no cursor is due.
    expect(again.events.map(({ data }) => data)).toEqual(['now']);
    expect(counts.log).toBe(read);
  });

  it('waits for its turn if concurrentReplays others read the log', async () => {
    await create({ concurrentReplays: 1 });
    const streams = await Promise.all([1, 2, 3, 4].map(() => resume('loud', first)));
    await Promise.all(streams.map((stream) => stream.until(({ events }) => events.at(-1)?.id === last)));
    expect(streams.map(({ events }) => events.length)).toEqual(Array.from({ length: 4 }, () => EVENTS - 1));
    expect(limits.reached.concurrentReplays).toBeGreaterThan(0);
  });

  it('does not wait if there are turns enough', async () => {
    await create({ concurrentReplays: 4 });
    const streams = await Promise.all([1, 2, 3, 4].map(() => resume('loud', first)));
    await Promise.all(streams.map((stream) => stream.until(({ events }) => events.at(-1)?.id === last)));
    expect(limits.reached.concurrentReplays).toBe(0);
  });
});
