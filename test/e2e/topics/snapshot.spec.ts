import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, describe, expect, it } from '@jest/globals';
import { memory } from 'nestjs-event-stream';
import { closeAll, open } from '../../support/apps/platforms.js';
import { createTopicsApp, nothingLeft, rows, summary } from './topics-app.js';

describe.each(rows)('a state before its events, through $style on $platform.name', ({ platform, path }) => {
  afterEach(closeAll);

  it.each([
    ['that is read later than its place', false],
    ['that says its own place', true],
  ])('%s leaves nothing out while others publish', async (_what, saysItsPlace) => {
    const context = await createTopicsApp(platform);
    let count = 0;
    let position = await context.sse.position();
    context.follow((connection) =>
      connection.follow('count', {
        snapshot: async () => {
          await turn();
          await turn();
          return { type: 'state', data: count, ...(saysItsPlace && { at: position }) };
        },
      }),
    );
    const hasEnough = new AbortController();
    const write = async () => {
      while (!hasEnough.signal.aborted) {
        for (let times = 0; times < 3; times += 1) {
          position = await context.sse.publish('count', count + 1);
          count += 1;
        }
        await turn();
      }
    };
    const writing = write();
    const streams = [];
    for (let times = 0; times < 10; times += 1) {
      const stream = await open(context.app, path);
      await stream.until(({ events }) => events.length > 5);
      streams.push(stream);
    }
    hasEnough.abort();
    await writing;
    await Promise.all(
      streams.map((stream) => stream.until(({ events }) => events.at(-1)!.data === `${count}`)),
    );

    for (const { events } of streams) {
      const [state, ...after] = events;
      const first = Number(after[0]!.data);
      expect(state!.type).toBe('state');
      expect(state!.id).toMatch(new RegExp(`^\\w+-${first - 1}-`));
      expect(first).toBeLessThanOrEqual(Number(state!.data) + 1);
      if (saysItsPlace) {
        expect(first).toBe(Number(state!.data) + 1);
      }
      expect(after.map(({ data }) => Number(data))).toEqual(
        Array.from({ length: count - first + 1 }, (_, n) => first + n),
      );
    }
    await Promise.all(streams.map((stream) => stream.close()));
    await nothingLeft(context);
  });

  it('is not sent on an exact resume, and stands for a reset', async () => {
    const context = await createTopicsApp(platform, { log: memory({ maxEvents: 10 }), ringEvents: 5 });
    const asked: string[] = [];
    context.follow((connection) =>
      connection.follow('a', {
        snapshot: (at) => {
          asked.push(at);
          return { type: 'state', data: `state ${asked.length}` };
        },
      }),
    );
    const stream = await open(context.app, path);
    await stream.next();
    await stream.close();
    await context.publish('a', 1);
    const again = await open(context.app, path, { lastEventId: stream.lastEventId });
    await again.next();
    await again.close();
    const positions = await context.publish('a', ...Array.from({ length: 20 }, (_, n) => n + 2));
    const late = await open(context.app, path, { lastEventId: again.lastEventId });
    await late.next();
    await context.publish('a', 'after');
    await late.next();

    expect(summary(stream)).toEqual(['state state 1']);
    expect(summary(again)).toEqual(['message 1']);
    expect(summary(late)).toEqual(['state state 2', 'message after']);
    expect(late.events[0]!.id).toBe(positions.at(-1));
    expect(asked).toEqual([stream.lastEventId, positions.at(-1)]);
    expect(context.counts.resets.trimmed).toBe(1);
    await late.close();
  });

  it('that cannot be read ends the stream without an id, so that its client comes back for it', async () => {
    const context = await createTopicsApp(platform);
    context.follow((connection) =>
      connection.follow('a', { snapshot: () => Promise.reject(new Error('no database')) }),
    );
    const stream = await open(context.app, path);

    expect(await stream.ended).toBe('complete');
    expect(stream.events).toEqual([]);
    expect(stream.lastEventId).toBe('');
    await nothingLeft(context);
  });
});
