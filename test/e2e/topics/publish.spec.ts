import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, describe, expect, it } from '@jest/globals';
import { defineTopic, SseError } from 'nestjs-event-stream';
import type { TopicEvent } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import type { Observable } from 'rxjs';
import { closeAll, open, platforms } from '../../support/apps/platforms.js';
import { createTopicsApp, nothingLeft, rows, summary } from './topics-app.js';

async function failureOf(promise: Promise<unknown>): Promise<SseError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(SseError);
  return error as SseError;
}

describe.each(platforms)('publishing on $name', (platform) => {
  afterEach(closeAll);

  it('refuses what cannot be published, and nobody gets anything of it', async () => {
    const context = await createTopicsApp(platform, { maxEventBytes: 200 });
    const stream = await open(context.app, '/connect');
    await stream.next();
    const before = await context.sse.position();

    const refused: [Promise<unknown>, string][] = [
      [context.sse.publish('a b', 1), 'topic-invalid'],
      [context.sse.publish('a.*', 1), 'topic-invalid'],
      [context.sse.publish('a.>', 1), 'topic-invalid'],
      [context.sse.publish('', 1), 'topic-invalid'],
      [context.sse.publish('a', 'x'.repeat(300)), 'event-too-large'],
      [context.sse.publish('a', { data: 1, type: 'a\nb' }), 'event-invalid'],
      [context.sse.publish('a', { data: 1, id: '5' }), 'event-invalid'],
      [context.sse.publish('a', { data: 1, retry: 5 }), 'event-invalid'],
      [context.sse.publish('a', { data: 1n }), 'event-invalid'],
      [context.sse.publish('a', Buffer.from('bytes')), 'event-invalid'],
      [context.sse.publish('a', { data: { file: Uint8Array.of(1) } }), 'event-invalid'],
      [context.sse.publish('a', Promise.reject(new Error('late'))), 'event-invalid'],
      [context.sse.publish('a', { data: 1, type: 'reset' }), 'event-invalid'],
      [context.sse.publish('a', { data: 1, type: 'cursor' }), 'event-invalid'],
    ];
    const codes = await Promise.all(refused.map(async ([promise]) => (await failureOf(promise)).code));

    expect(codes).toEqual(refused.map(([, code]) => code));
    expect(await context.sse.position()).toBe(before);
    const at = await context.sse.publish('a', 'after');
    expect(await stream.next()).toMatchObject({ data: 'after', id: at });
    await stream.close();
  });

  it('takes reset and cursor where the module’s own events have other names', async () => {
    const context = await createTopicsApp(platform, { resetEvent: 'lost', cursorEvent: 'place' });
    const stream = await open(context.app, '/connect');
    await stream.next();

    await context.sse.publish('a', { type: 'reset', data: 'the app’s own' });
    const refused = await failureOf(context.sse.publish('a', { type: 'lost', data: 1 }));

    expect(await stream.next()).toMatchObject({ type: 'reset', data: 'the app’s own' });
    expect(refused).toMatchObject({ code: 'event-invalid', field: 'type' });
    expect(refused.message).toContain('resetEvent');
    await stream.close();
  });

  it('is refused as closed once the app closes, and is known not to have happened', async () => {
    const context = await createTopicsApp(platform);
    const closing = context.app.close();
    await waitFor(() => context.registry.refusal() !== undefined);
    const meanwhile = await failureOf(context.sse.publish('a', 1));
    await closing;
    const after = await failureOf(context.sse.publish('a', 1));

    for (const error of [meanwhile, after]) {
      expect(error).toMatchObject({ code: 'closed', isOutcomeKnown: true });
    }
  });

  it('is seen by code on the server, from where it asks', async () => {
    const orders = defineTopic<{ created: { total: number } }>('orders.*');
    const context = await createTopicsApp(platform);
    const positions = [];
    for (const total of [1, 2, 3]) {
      positions.push(await context.sse.publish(orders.of(total), { type: 'created', data: { total } }));
      await context.sse.publish('other', total);
    }
    // What was published in this turn is still on its way to those who follow.
    await turn();
    const collect = (events: Observable<TopicEvent<{ data: unknown }>>) => {
      const got: TopicEvent<{ data: unknown }>[] = [];
      const subscription = events.subscribe((event) => got.push(event));
      return { got, subscription };
    };
    const all = [
      collect(context.sse.events(orders, { from: 'earliest' })),
      collect(context.sse.events('orders.>', { from: positions[1] })),
      collect(context.sse.events(orders, { from: { agoMs: 60_000 } })),
      collect(context.sse.events(orders)),
    ];
    const last = await context.sse.publish(orders.of(4), { type: 'created', data: { total: 4 } });
    await waitFor(() => all.every(({ got }) => got.at(-1)?.position === last));

    expect(all.map(({ got }) => got.map(({ event }) => (event.data as { total: number }).total))).toEqual([
      [1, 2, 3, 4],
      [3, 4],
      [1, 2, 3, 4],
      [4],
    ]);
    expect(all[3]!.got).toEqual([
      { topic: 'orders.4', position: last, event: { type: 'created', data: { total: 4 } } },
    ]);
    all.forEach(({ subscription }) => subscription.unsubscribe());
    await context.sse.publish(orders.of(5), { type: 'created', data: { total: 5 } });
    expect(all.map(({ got }) => got.length)).toEqual([4, 2, 4, 1]);
  });
});

describe.each(rows)('app.close() with followers through $style on $platform.name', ({ platform, path }) => {
  afterEach(closeAll);

  const hasEarlyResets = platform.http2 && /^v(20\.19|22\.12)\./.test(process.version);

  it.each(['GET', 'POST'])('hands on what was accepted before it, %s', async (method) => {
    const context = await createTopicsApp(platform, { drain: { spreadMs: 0, timeoutMs: 15_000 } });
    const streams = await Promise.all(Array.from({ length: 5 }, () => open(context.app, path, { method })));
    await Promise.all(streams.map((stream) => stream.next()));

    const publishing = Array.from({ length: 300 }, (_, n) =>
      context.sse.publish('a', { n, pad: 'x'.repeat(10_000) }),
    );
    await context.app.close();
    await Promise.all(publishing);

    for (const stream of streams) {
      // The end of a POST would say that the answer is complete. Node 20.19 and 22.12 may reset a stream of HTTP/2 that ends as
      // its session does: the client has all of it, and comes back.
      const endings =
        method === 'POST' ? ['aborted'] : hasEarlyResets ? ['complete', 'aborted'] : ['complete'];
      expect(endings).toContain(await stream.ended);
      const numbers = stream.events.slice(1).map((event) => event.json<{ n: number }>().n);
      expect(numbers).toEqual(Array.from({ length: 300 }, (_, n) => n));
    }
    await nothingLeft(context);
  });

  it('is not held up by one that does not read', async () => {
    const context = await createTopicsApp(platform, { drain: { spreadMs: 0, timeoutMs: 500 } });
    const [stalled, other] = [await open(context.app, path), await open(context.app, path)];
    await Promise.all([stalled.next(), other.next()]);
    stalled.pause();
    for (let n = 0; n < 300; n += 1) {
      await context.publish('a', { n, pad: 'x'.repeat(50_000) });
      await other.next();
    }

    await context.app.close();

    expect(await other.ended).toBe('complete');
    stalled.resume();
    expect(await stalled.ended).toBe('aborted');
    const numbers = stalled.events.slice(1).map((event) => event.json<{ n: number }>().n);
    expect(numbers).toEqual(numbers.map((_, n) => n));
    expect(numbers.length).toBeLessThan(300);
    await nothingLeft(context);
  });

  it('gives everyone a time to come back, and an id that the next log does not know', async () => {
    const context = await createTopicsApp(platform, { drain: { spreadMs: 1 } });
    const stream = await open(context.app, path);
    await stream.next();
    await context.publish('a', 1);
    await stream.next();
    await context.app.close();
    expect(await stream.ended).toBe('complete');
    expect(stream.retries.length).toBe(2);

    const next = await createTopicsApp(platform);
    await next.publish('a', 2, 3);
    const again = await open(next.app, path, { lastEventId: stream.lastEventId });
    await again.next();
    await next.publish('a', 4);
    await again.next();

    expect(summary(again)).toEqual(['reset {"reason":"epoch"}', 'message 4']);
    await again.close();
  });
});
