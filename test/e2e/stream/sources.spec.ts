import { Readable } from 'node:stream';
import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { EMPTY, from } from 'rxjs';
import type { StreamItems, StreamSource } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import { Gate } from '../../support/gate.js';
import { closeAll, open, platforms } from '../../support/apps/platforms.js';
import { createStreamApp } from './stream-app.js';

async function* generatorOf<T>(items: Iterable<T>): AsyncGenerator<T> {
  yield* items;
}

function webStreamOf<T>(items: Iterable<T>): ReadableStream<T> {
  const iterator = items[Symbol.iterator]();
  return new ReadableStream<T>({
    pull(controller) {
      const { done, value } = iterator.next();
      if (done) {
        controller.close();
      } else {
        controller.enqueue(value);
      }
    },
  });
}

const kinds: [string, (items: unknown[]) => StreamItems][] = [
  ['an async generator', generatorOf],
  ['a ReadableStream', webStreamOf],
  ['a Readable of Node', (items) => Readable.from(items)],
  ['an Observable', (items) => from(items)],
];
const sources = kinds.flatMap(([kind, make]): [string, (items: unknown[]) => StreamSource][] => [
  [kind, (items) => () => make(items)],
  [`a promise of ${kind}`, (items) => async () => make(items)],
]);

const ITEMS = ['text', { n: 1 }, { data: [1, 2], type: 'list', id: 'a-1' }, 4, { message: 'hi' }];
const FRAMES =
  'data: text\n\n' +
  'data: {"n":1}\n\n' +
  'event: list\ndata: [1,2]\nid: a-1\n\n' +
  'data: 4\n\n' +
  'data: {"message":"hi"}\n\n';

describe.each(platforms)('stream() on $name', (platform) => {
  afterEach(async () => {
    jest.useRealTimers();
    await closeAll();
  });

  it.each(sources)('sends the items of %s, and resolves with their number', async (_kind, sourceOf) => {
    const { app, end, nothingLeft } = await createStreamApp(platform, sourceOf(ITEMS));

    const stream = await open(app, '/awaited');

    expect(stream.status).toBe(200);
    expect(stream.headers['content-type']).toBe('text/event-stream; charset=utf-8');
    expect(await stream.body()).toBe(`retry: 3000\n${FRAMES}`);
    expect(await end()).toEqual({ reason: 'done', events: 5, bytes: FRAMES.length });
    await nothingLeft();
  });

  it('answers a POST with 200, and its end reads as complete', async () => {
    const { app, end } = await createStreamApp(platform, () => generatorOf(ITEMS));

    const stream = await open(app, '/awaited', { method: 'POST', body: { question: '?' } });

    expect(stream.status).toBe(200);
    expect(await stream.body()).toBe(`retry: 3000\n${FRAMES}`);
    expect(await end()).toMatchObject({ reason: 'done', events: 5 });
  });

  it.each(sources)('answers with an empty stream if %s is empty', async (kind, sourceOf) => {
    const isObservable = kind.includes('Observable');
    const source: StreamSource = isObservable ? () => EMPTY : sourceOf([]);
    const { app, end } = await createStreamApp(platform, source);

    const stream = await open(app, '/awaited');

    expect(stream.status).toBe(200);
    expect(await stream.body()).toBe('retry: 3000\n');
    expect(await end()).toEqual({ reason: 'done', events: 0, bytes: 0 });
  });

  it('counts bytes, not characters', async () => {
    const { app, end } = await createStreamApp(platform, () => generatorOf(['字']));

    await (await open(app, '/awaited')).body();

    expect(await end()).toEqual({ reason: 'done', events: 1, bytes: 'data: 字\n\n'.length + 2 });
  });

  it('may be returned by the handler', async () => {
    const { app, nothingLeft } = await createStreamApp(platform, () => generatorOf(ITEMS));

    expect(await (await open(app, '/returned')).body()).toBe(`retry: 3000\n${FRAMES}`);
    await nothingLeft();
  });

  it('need not be awaited by the handler, which may return before the first item', async () => {
    const { app, nothingLeft } = await createStreamApp(platform, async function* () {
      // Turns of the event loop in which the framework could answer for a handler that has returned nothing.
      for (let turn = 0; turn < 10; turn += 1) {
        await new Promise((resolve) => setImmediate(resolve));
      }
      yield* ITEMS;
    });

    expect(await (await open(app, '/unawaited')).body()).toBe(`retry: 3000\n${FRAMES}`);
    await nothingLeft();
  });

  it('sends each item when it comes, the headers with the first', async () => {
    const gates = [new Gate(), new Gate()];
    const { app, controller } = await createStreamApp(platform, async function* () {
      await gates[0]!.opened;
      yield 'first';
      await gates[1]!.opened;
      yield 'second';
    });
    const opening = open(app, '/awaited');
    await waitFor(() => controller.raw);
    // A few turns of the event loop, in which the headers would go out.
    for (let turn = 0; turn < 10; turn += 1) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(controller.raw!.headersSent).toBe(false);
    gates[0]!.open();

    const stream = await opening;
    expect((await stream.next()).data).toBe('first');
    expect(stream.raw).toBe('retry: 3000\ndata: first\n\n');
    gates[1]!.open();
    expect(await stream.body()).toBe('retry: 3000\ndata: first\n\ndata: second\n\n');
  });

  it('sends the headers after 3 s if there is no item yet', async () => {
    const gate = new Gate();
    const { app, controller } = await createStreamApp(platform, async function* () {
      await gate.opened;
      yield 'late';
    });
    // Only the clock of the app is faked: the client's deadlines run on real time.
    jest.useFakeTimers({ doNotFake: ['nextTick', 'setImmediate', 'queueMicrotask'] });
    const opening = open(app, '/awaited');
    await waitFor(() => controller.raw);

    await jest.advanceTimersByTimeAsync(2_900);
    expect(controller.raw!.headersSent).toBe(false);
    await jest.advanceTimersByTimeAsync(200);
    const stream = await opening;
    await stream.until(({ raw }) => raw === 'retry: 3000\n');
    // The heartbeat runs meanwhile, as in every stream.
    await jest.advanceTimersByTimeAsync(15_500);
    await stream.until(({ comments }) => comments.length === 1);
    gate.open();

    expect(await stream.body()).toBe('retry: 3000\n:\ndata: late\n\n');
  });

  it('answers HEAD with the headers, and does not call the source', async () => {
    let calls = 0;
    const { app, end, nothingLeft } = await createStreamApp(platform, () => {
      calls += 1;
      return generatorOf(ITEMS);
    });

    const answer = await open(app, '/awaited', { method: 'HEAD' });

    expect(answer.status).toBe(200);
    expect(answer.headers['content-type']).toBe('text/event-stream; charset=utf-8');
    expect(await answer.body()).toBe('');
    expect(await end()).toEqual({ reason: 'done', events: 0, bytes: 0 });
    expect(calls).toBe(0);
    await nothingLeft();
  });
});
