import { afterEach, describe, expect, it } from '@jest/globals';
import { memory } from 'nestjs-event-stream';
import type { SseTestStream } from 'nestjs-event-stream/testing';
import { closeAll, open, platforms } from '../../support/apps/platforms.js';
import { createTopicsApp, nothingLeft, rows, summary } from './topics-app.js';

const numbers = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, n) => from + n);
const messages = (from: number, to: number) => numbers(from, to).map((n) => `message ${n}`);

describe.each(rows)('a client that comes back, through $style on $platform.name', ({ platform, path }) => {
  afterEach(closeAll);

  it('has got the cursor, and each event with its position as id', async () => {
    const context = await createTopicsApp(platform);
    const stream = await open(context.app, path);
    const cursor = await stream.next();
    const positions = await context.publish('orders.1', 'one', { two: 2 });

    const [first, second] = await stream.take(2);
    expect(cursor).toMatchObject({ type: 'cursor', data: '{}', id: expect.stringMatching(/^\w+-0-0{8}$/) });
    expect(first).toMatchObject({ type: 'message', data: 'one', id: positions[0] });
    expect(second).toMatchObject({ type: 'message', data: '{"two":2}', id: positions[1] });
    expect(await context.sse.position()).toBe(positions[1]);
    await stream.close();
    await nothingLeft(context);
  });

  it.each(['header', 'query'])('gets what it has missed, by the id in the %s', async (where) => {
    const context = await createTopicsApp(platform);
    const stream = await open(context.app, path);
    await stream.next();
    await context.publish('a', ...numbers(1, 3));
    await stream.take(3);
    await stream.close();
    await context.publish('a', ...numbers(4, 100));

    const id = stream.lastEventId;
    const again = await (where === 'header'
      ? open(context.app, path, { lastEventId: id })
      : open(context.app, `${path}?lastEventId=${id}`));
    await context.publish('a', 101);

    await again.until(({ events }) => events.length >= 98);
    expect(summary(again)).toEqual(messages(4, 101));
    expect(context.counts).toMatchObject({ new: 1, ring: 1 });
    await again.close();
  });

  it('gets what it has missed after a cursor alone', async () => {
    const context = await createTopicsApp(platform);
    const stream = await open(context.app, path);
    await stream.next();
    await stream.close();
    await context.publish('a', ...numbers(1, 3));

    const again = await open(context.app, path, { lastEventId: stream.lastEventId });

    await again.until(({ events }) => events.length >= 3);
    expect(summary(again)).toEqual(messages(1, 3));
    await again.close();
  });

  it('is told why where it cannot have that, and goes on from there', async () => {
    const options = { log: memory({ maxEvents: 20 }), ringEvents: 5, maxReplayEvents: 30 };
    const context = await createTopicsApp(platform, options);
    const positions = await context.publish('a', ...numbers(1, 50));
    const idOf = (sequence: number) => positions[sequence - 1]!;
    const otherNonce = (id: string) => id.replace(/\w+$/, '00c0ffee');
    const ids: [string, string, string[]][] = [
      ['in the ring', idOf(48), messages(49, 50)],
      ['in the log', idOf(35), messages(36, 50)],
      ['in the ring, of another event', otherNonce(idOf(48)), ['reset diverged']],
      ['in the log, of another event', otherNonce(idOf(35)), ['reset diverged']],
      ['older than the log', idOf(25), ['reset trimmed']],
      ['too long ago', idOf(5), ['reset limit']],
      ['of another log', idOf(48).replace(/^\w+/, 'ffff'), ['reset epoch']],
      ['cut short', idOf(48).slice(0, -1), ['reset invalid']],
      ['of another kind', '17', ['reset invalid']],
    ];

    const came = await Promise.all(
      ids.map(async ([, lastEventId, expected]) => {
        const stream = await open(context.app, path, { lastEventId });
        await stream.until(({ events }) => events.length >= expected.length);
        return stream;
      }),
    );
    const head = idOf(50);
    expect(came.map(({ lastEventId }) => lastEventId)).toEqual(ids.map(() => head));
    await context.publish('a', 51);
    await Promise.all(came.map((stream) => stream.until(({ events }) => events.at(-1)!.data === '51')));

    const got = ids.map(([what], index) => [what, readable(came[index]!)]);
    expect(got).toEqual(ids.map(([what, , expected]) => [what, [...expected, 'message 51']]));
    expect(context.counts).toEqual({
      new: 0,
      ring: 1,
      log: 1,
      snapshots: 0,
      withheld: 0,
      resets: { trimmed: 1, diverged: 2, regressed: 0, epoch: 1, limit: 1, invalid: 2 },
    });
    await Promise.all(came.map((stream) => stream.close()));
    await nothingLeft(context);
  });

  it.each([
    ['too long', 'x'.repeat(1025), ''],
    ['of UTF-8', 'é', ''],
    ['with a NUL, in the URL', undefined, '?lastEventId=a%00b'],
    ['with a line break, in the URL', '', '?lastEventId=a%0Ab'],
  ])('is told that something is missing for an id that is %s', async (_, header, query) => {
    const context = await createTopicsApp(platform);
    await context.publish('a', 1);
    const stream = await open(context.app, path + query, header ? { lastEventId: header } : {});

    expect(await stream.next()).toMatchObject({ type: 'reset', data: '{"reason":"invalid"}' });
    expect(context.connections[0]!.lastEventId).toBeUndefined();
    await stream.close();
  });

  it.each([
    ['an unusable header', 'é'],
    ['undefined in the header', 'undefined'],
    ['null in the header', 'null'],
  ])('resumes by the URL beside %s', async (_, lastEventId) => {
    const context = await createTopicsApp(platform);
    const [id] = await context.publish('a', 1, 2);
    const stream = await open(context.app, `${path}?lastEventId=${id}`, { lastEventId });

    expect(await stream.next()).toMatchObject({ type: 'message', data: '2' });
    expect(context.connections[0]!.lastEventId).toBe(id);
    await stream.close();
  });

  it.each(['undefined', 'null'])('is new where it says %s', async (lastEventId) => {
    const context = await createTopicsApp(platform);
    const stream = await open(context.app, path, { lastEventId });

    expect((await stream.next()).type).toBe('cursor');
    await stream.close();
  });

  it('gets nothing twice and misses nothing, however often it comes back while others publish', async () => {
    const context = await createTopicsApp(platform, { ringEvents: 20 });
    let stream = await open(context.app, path);
    await stream.next();
    const got: string[] = [];
    let published = 0;
    for (let visit = 0; visit < 20; visit += 1) {
      await context.publish('a', ...numbers(published + 1, published + 15));
      published += 15;
      const arriving = visit % 3 === 0 ? 0 : 5;
      await stream.until(({ events }) => events.length >= arriving);
      await stream.close({ reset: visit % 2 === 0 });
      got.push(...stream.events.filter(({ type }) => type === 'message').map(({ data }) => data));
      expect(stream.events.map(({ type }) => type)).not.toContain('reset');
      stream = await open(context.app, path, { lastEventId: stream.lastEventId });
    }
    // The last visit may have brought them all.
    await stream.until(({ events }) => (events.at(-1)?.data ?? got.at(-1)) === `${published}`);
    got.push(...stream.events.map(({ data }) => data));

    expect(got).toEqual(numbers(1, published).map(String));
    await stream.close();
  });
});

describe.each(platforms)('a client that comes back from the future, on $name', (platform) => {
  afterEach(closeAll);

  it('is told so, once that future has been waited for', async () => {
    const context = await createTopicsApp(platform);
    const [id] = await context.publish('a', 1);
    const stream = await open(context.app, '/connect', { lastEventId: id!.replace('-1-', '-9-') });
    await stream.next();
    await context.publish('a', 2);
    await stream.next();

    expect(readable(stream)).toEqual(['reset regressed', 'message 2']);
    await stream.close();
  });
});

function readable(stream: SseTestStream): string[] {
  return stream.events.map((event) =>
    event.type === 'reset'
      ? `reset ${event.json<{ reason: string }>().reason}`
      : `${event.type} ${event.data}`,
  );
}
