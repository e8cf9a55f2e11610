import { afterEach, describe, expect, it } from '@jest/globals';
import { closeAll, open } from '../../support/apps/platforms.js';
import { createTopicsApp, nothingLeft, rows, summary } from './topics-app.js';

const ANNOUNCING = { headers: { Accept: 'text/event-stream, text/event-stream;announce=1' } };

describe.each(rows)('what a stream announces, through $style on $platform.name', ({ platform, path }) => {
  afterEach(closeAll);

  const createApp = async () => {
    const context = await createTopicsApp(platform, { heartbeatMs: 12_000 });
    let count = 0;
    context.follow((connection) => {
      connection.follow('b', { snapshot: () => ({ type: 'state', data: 'of b' }) });
      return connection.follow('a', { snapshot: () => ({ type: 'state', data: `of a, ${(count += 1)}` }) });
    });
    return context;
  };

  it('is its heartbeat and its snapshots, to a client that asks', async () => {
    const context = await createApp();
    const stream = await open(context.app, path, ANNOUNCING);
    await stream.until(({ events }) => events.length === 3);
    expect(stream.comments).toEqual(['heartbeat 12000']);
    expect(summary(stream)).toEqual(['cursor {"snapshots":2}', 'state of b', 'state of a, 1']);
    expect(stream.events.map(({ id }) => id !== undefined)).toEqual([false, false, true]);
    await stream.close();
    await nothingLeft(context);
  });

  it('is nothing to any other client', async () => {
    const context = await createApp();
    const stream = await open(context.app, path);
    await stream.until(({ events }) => events.length === 2);
    expect(stream.comments).toEqual([]);
    expect(summary(stream)).toEqual(['state of b', 'state of a, 1']);
    await stream.close();
    await nothingLeft(context);
  });

  it('is the state of patterns that the client names as new, before what it goes on with', async () => {
    const context = await createApp();
    const [first] = await context.publish('b', 1, 2);
    const lastEventId = first!;
    const stream = await open(context.app, `${path}?addedTopics=a&addedTopics=c.*`, {
      headers: { ...ANNOUNCING.headers, 'Last-Event-ID': lastEventId },
    });
    await stream.until(({ events }) => events.length === 3);
    expect(summary(stream)).toEqual(['cursor {"snapshots":1,"added":true}', 'state of a, 1', 'message 2']);
    expect(stream.events.slice(0, 2).map(({ id }) => id)).toEqual([undefined, undefined]);

    // A plain client may name them, too.
    const plain = await open(context.app, `${path}?addedTopics=a&lastEventId=${lastEventId}`);
    await plain.until(({ events }) => events.length === 2);
    expect(summary(plain)).toEqual(['state of a, 2', 'message 2']);
    await Promise.all([stream.close(), plain.close()]);
    await nothingLeft(context);
  });

  it('is that there are no snapshots, to a client that begins without an id', async () => {
    const context = await createTopicsApp(platform);
    const stream = await open(context.app, path, ANNOUNCING);
    await stream.until(({ events }) => events.length === 1);
    expect(stream.comments).toEqual([]);
    expect(summary(stream)).toEqual(['cursor {"snapshots":0}']);
    expect(stream.lastEventId).toBe(await context.sse.position());
    await stream.close();
    await nothingLeft(context);
  });
});
