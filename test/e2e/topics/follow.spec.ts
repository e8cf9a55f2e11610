import type { IncomingHttpHeaders } from 'node:http';
import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, describe, expect, it } from '@jest/globals';
import { Controller, NotFoundException, Sse } from '@nestjs/common';
import { Connection, defineTopic, SseConnection, SseModule, topic } from 'nestjs-event-stream';
import type { Follow } from 'nestjs-event-stream';
import { Topics } from '../../../lib/topics/index.js';
import { closeAll, open, platforms } from '../../support/apps/platforms.js';
import { createTopicsApp, nothingLeft, rows, summary } from './topics-app.js';

describe.each(rows)('following through $style on $platform.name', ({ platform, path }) => {
  afterEach(closeAll);

  it('gives what some pattern matches, once, where filter lets it through', async () => {
    const context = await createTopicsApp(platform);
    context.follow((connection) => {
      connection.follow(['orders.*', 'orders.>'], { filter: ({ event }) => event.data !== 2 });
      return connection.follow('users.1');
    });
    const stream = await open(context.app, path);
    await stream.next();
    await context.publish('orders.7', 1, 2, 3);
    await context.publish('users.2', 4);
    await context.publish('orders.7.lines.1', 5);
    await context.publish('users.1', 6);

    await stream.until(({ events }) => events.at(-1)?.data === '6');
    expect(summary(stream)).toEqual(['cursor {}', ...[1, 3, 5, 6].map((n) => `message ${n}`)]);
    await stream.close();
    await nothingLeft(context);
  });

  it('says in an envelope which topic, live and at replay', async () => {
    const context = await createTopicsApp(platform);
    context.follow((connection) => connection.follow('orders.*', { envelope: true }));
    const stream = await open(context.app, path);
    await stream.next();
    await context.sse.publish(topic`orders.${'a.b/ü'}`, { type: 'changed', data: { n: 1 } });
    const live = await stream.next();
    await stream.close();
    await context.sse.publish('orders.2', 'text');
    const again = await open(context.app, path, { lastEventId: stream.lastEventId });

    expect(live).toMatchObject({
      type: 'changed',
      data: '{"topic":"orders.a%2Eb%2F%C3%BC","data":{"n":1}}',
    });
    expect((await again.next()).json()).toEqual({ topic: 'orders.2', data: 'text' });
    await again.close();
  });

  it('gives a typed topic to those who follow its family, or one of it', async () => {
    const orders = defineTopic<{ created: { total: number }; cancelled: { reason: string } }>('orders.*');
    const context = await createTopicsApp(platform);
    context.follow((connection) => {
      connection.follow(orders.of(5));
      return connection.follow(orders, { filter: ({ event }) => event.type === 'cancelled' });
    });
    const stream = await open(context.app, path);
    await stream.next();
    await context.sse.publish(orders.of(4), { type: 'created', data: { total: 1 } });
    await context.sse.publish(orders.of(5), { type: 'created', data: { total: 2 } });
    await context.sse.publish(orders.of(6), { type: 'cancelled', data: { reason: 'lost' } });

    const got = await stream.take(2);
    expect(got.map(({ type, data }) => `${type} ${data}`)).toEqual([
      'created {"total":2}',
      'cancelled {"reason":"lost"}',
    ]);
    await stream.close();
  });

  it('asks authorize for each event, live and at replay', async () => {
    const context = await createTopicsApp(platform, {
      authorize: (name, connection) => {
        const { headers } = connection.request as { headers: IncomingHttpHeaders };
        return name.startsWith(topic`users.${headers['x-user'] as string}.`);
      },
    });
    const publish = async (n: number) => {
      await context.publish('users.ann.orders', `ann ${n}`);
      await context.publish('users.bob.orders', `bob ${n}`);
      await context.publish('users.ann', 'nobody');
    };
    const stream = await open(context.app, path, { headers: { 'x-user': 'ann' } });
    await stream.next();
    await publish(1);
    await publish(2);
    await stream.until(({ events }) => events.at(-1)?.data === 'ann 2');
    await stream.close();
    await publish(3);
    // With the id that another was given.
    const again = await open(context.app, path, {
      headers: { 'x-user': 'bob' },
      lastEventId: stream.lastEventId,
    });
    await publish(4);
    await again.until(({ events }) => events.at(-1)?.data === 'bob 4');

    expect(summary(stream)).toEqual(['cursor {}', 'message ann 1', 'message ann 2']);
    expect(summary(again)).toEqual(['message bob 2', 'message bob 3', 'message bob 4']);
    await again.close();
  });

  it('goes on with the rest after unfollow()', async () => {
    const context = await createTopicsApp(platform);
    let follow!: Follow;
    context.follow((connection) => {
      connection.follow('b');
      follow = connection.follow('a');
      return follow;
    });
    const stream = await open(context.app, path);
    await stream.next();
    await context.publish('a', 1);
    await stream.next();
    follow.unfollow();
    await context.publish('a', 2);
    await context.publish('b', 3);

    expect((await stream.next()).data).toBe('3');
    await stream.close();
    await nothingLeft(context);
  });

  it('gives a client that does not read the last of each key alone, once it reads again', async () => {
    const context = await createTopicsApp(platform);
    context.follow((connection) =>
      connection.follow('prices', { latest: ({ event }) => (event.data as { of: string }).of }),
    );
    const stream = await open(context.app, path);
    await stream.next();
    stream.pause();
    // More than the systems of both sides take.
    const n = 400;
    const pad = 'x'.repeat(50_000);
    for (let next = 1; next <= n; next += 1) {
      await context.publish('prices', { of: `k${next % 3}`, n: next, pad });
      await turn();
    }
    stream.resume();
    await stream.until(({ events }) => events.at(-1)?.data.includes(`"n":${n},`) === true);

    const numbers = stream.events.slice(1).map((event) => event.json<{ n: number }>().n);
    expect(numbers.slice(-3)).toEqual([n - 2, n - 1, n]);
    expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
    expect(numbers.length).toBeLessThan(n / 2);
    await stream.close();
  });

  it('closes who reads nothing for maxLagMs as slow, who comes back and misses nothing', async () => {
    // Longer than a loaded machine keeps the clients that do read from reading.
    const context = await createTopicsApp(platform, { maxLagMs: 3_000 });
    const other = await open(context.app, path);
    const stream = await open(context.app, path);
    await stream.next();
    stream.pause();
    const pad = 'x'.repeat(50_000);
    for (let n = 1; n <= 200; n += 1) {
      await context.publish('a', { n, pad });
      await other.until(({ events }) => events.length > n);
    }
    const [, connection] = context.connections;
    expect(await connection!.closed).toBe('slow');
    stream.resume();
    expect(await stream.ended).toBe('aborted');

    const again = await open(context.app, path, { lastEventId: stream.lastEventId });
    await again.until(({ events }) => events.at(-1)?.data.startsWith('{"n":200,') === true, {
      timeoutMs: 20_000,
    });
    const numbers = [...stream.events, ...again.events]
      .filter(({ type }) => type === 'message')
      .map((event) => event.json<{ n: number }>().n);
    expect(numbers).toEqual(Array.from({ length: 200 }, (_, index) => index + 1));
    expect([...context.sse.connections]).toContain(context.connections[0]);
    await Promise.all([again.close(), other.close()]);
    await nothingLeft(context);
  });

  it('follows also on a POST', async () => {
    const context = await createTopicsApp(platform);
    const stream = await open(context.app, path, { method: 'POST' });
    await stream.next();
    await context.publish('a', 1);

    expect(stream.status).toBe(200);
    expect((await stream.next()).data).toBe('1');
    await stream.close();
    await nothingLeft(context);
  });

  it('leaves nothing behind of a HEAD', async () => {
    const context = await createTopicsApp(platform);
    const answer = await open(context.app, path, { method: 'HEAD' });

    expect(answer.status).toBe(200);
    expect(await answer.body()).toBe('');
    await nothingLeft(context);
  });
});

@Controller()
class FailingController {
  @Sse('fails')
  fails(@Connection() connection: SseConnection) {
    connection.follow('>');
    throw new NotFoundException('No such thing.');
  }
}

describe.each(platforms)('an @Sse() handler that follows and fails, on $name', (platform) => {
  afterEach(closeAll);

  it('answers with its failure, and leaves no follower behind', async () => {
    const app = await platform.create({
      imports: [SseModule.forRoot()],
      controllers: [FailingController],
    });
    const answer = await open(app, '/fails');

    expect(answer.status).toBe(404);
    expect(JSON.parse(await answer.body())).toMatchObject({ message: 'No such thing.' });
    expect(app.get(Topics, { strict: false }).followers).toBe(0);
  });
});
