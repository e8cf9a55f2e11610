import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { Controller, Query, Sse } from '@nestjs/common';
import type { INestApplication } from '@nestjs/common';
import { Connection, SseModule, SseService } from 'nestjs-event-stream';
import type { Position, SseConnection, SseModuleOptions } from 'nestjs-event-stream';
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
    expect(limits.timesReached('replayEventsPerKeyPerMinute')).toBe(0);
  });

  it('gets a reset past the budget of its key, and another key does not', async () => {
    // One page may be read, and the next one in minutes.
    await create({ replayEventsPerKeyPerMinute: 100 });
    const stream = await resume('loud', first);
    await stream.until(({ events }) => events.some(({ type }) => type === 'reset'));
    const { data, id } = stream.events.find(({ type }) => type === 'reset')!;
    expect([data, id]).toEqual(['{"reason":"limit"}', last]);
    expect(limits.timesReached('replayEventsPerKeyPerMinute')).toBeGreaterThan(0);
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
    expect(limits.timesReached('concurrentReplays')).toBeGreaterThan(0);
  });

  it('does not wait if there are turns enough', async () => {
    await create({ concurrentReplays: 4 });
    const streams = await Promise.all([1, 2, 3, 4].map(() => resume('loud', first)));
    await Promise.all(streams.map((stream) => stream.until(({ events }) => events.at(-1)?.id === last)));
    expect(limits.timesReached('concurrentReplays')).toBe(0);
  });
});
