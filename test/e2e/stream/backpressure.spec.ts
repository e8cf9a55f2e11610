import { Readable } from 'node:stream';
import { afterEach, describe, expect, it } from '@jest/globals';
import { from } from 'rxjs';
import type { StreamItems } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import { closeAll, open, platforms } from '../../support/apps/platforms.js';
import { createStreamApp } from './stream-app.js';

const ITEMS = 2_500;

/** Items of 10 KB, with a count of those that were asked for. */
class Counted implements Iterable<{ id: number; data: string }> {
  pulled = 0;

  *[Symbol.iterator]() {
    while (this.pulled < ITEMS) {
      this.pulled += 1;
      yield { id: this.pulled, data: 'x'.repeat(10_000) };
    }
  }
}

/** Resolves when a count grows no more. */
async function standstill(count: () => number): Promise<number> {
  let last = -1;
  let since = Date.now();
  await waitFor(
    () => {
      if (count() !== last) {
        last = count();
        since = Date.now();
      }
      return Date.now() - since > 300;
    },
    { timeoutMs: 20_000 },
  );
  return last;
}

const pulledKinds: [string, (items: Counted) => StreamItems][] = [
  [
    'an async generator',
    async function* (items) {
      yield* items;
    },
  ],
  [
    'a ReadableStream',
    (items) => {
      const iterator = items[Symbol.iterator]();
      return new ReadableStream({
        pull(controller) {
          const { done, value } = iterator.next();
          if (done) {
            controller.close();
          } else {
            controller.enqueue(value);
          }
        },
      });
    },
  ],
  ['a Readable of Node', (items) => Readable.from(items)],
];

describe.each(platforms)('stream() to a client that does not read, on $name', (platform) => {
  afterEach(closeAll);

  it.each(pulledKinds)(
    'pauses %s, and goes on when the client reads again',
    async (_kind, make) => {
      const items = new Counted();
      // The limit is a fraction of the items: the source is paused, and its items are not buffered.
      const { app, end } = await createStreamApp(platform, () => make(items), { maxBufferedBytes: 100_000 });

      const stream = await open(app, '/awaited');
      stream.pause();
      const pulled = await standstill(() => items.pulled);

      expect(pulled).toBeLessThan(ITEMS);
      expect(stream.ending).toBeUndefined();
      stream.resume();
      // A bound for a source that stands still: 20 MB may take a busy machine a while.
      await stream.until(({ events }) => events.length === ITEMS, { timeoutMs: 60_000 });
      expect(stream.events.map(({ id }) => Number(id))).toEqual(
        Array.from({ length: ITEMS }, (_, n) => n + 1),
      );
      expect(await end()).toMatchObject({ reason: 'done', events: ITEMS });
      expect(await stream.ended).toBe('complete');
    },
    90_000,
  );

  it.each(pulledKinds)('stops %s when the client that it waits for leaves', async (_kind, make) => {
    const items = new Counted();
    const { app, end, nothingLeft } = await createStreamApp(platform, () => make(items));
    const stream = await open(app, '/awaited');
    stream.pause();
    const pulled = await standstill(() => items.pulled);

    await stream.close();

    expect(await end()).toMatchObject({ reason: 'client' });
    expect(items.pulled).toBeLessThanOrEqual(pulled + 1);
    await nothingLeft();
  });

  it('ends as slow with an Observable, which cannot be paused', async () => {
    const items = new Counted();
    const { app, end, nothingLeft } = await createStreamApp(platform, () => from(items), {
      maxBurstBytes: 100_000,
    });

    const stream = await open(app, '/awaited', { timeoutMs: 2_000 }).catch(() => undefined);

    const { reason, events, bytes } = await end();
    expect(reason).toBe('slow');
    expect(bytes).toBeLessThan(200_000);
    expect(Math.round(bytes / 10_000)).toBe(events);
    expect(items.pulled).toBeLessThanOrEqual(events + 2);
    expect(await (stream?.ended ?? 'aborted')).toBe('aborted');
    await nothingLeft();
  });
});

describe.each(platforms)('stream() to a client that reads, on $name', (platform) => {
  afterEach(closeAll);

  it('does not take it for slow, whatever the sizes of the items', async () => {
    const sizes = [10, 90_000, 10, 10, 500_000, 20_000, 20_000, 10, 300_000];
    const { app, end } = await createStreamApp(
      platform,
      async function* () {
        for (const size of sizes) {
          yield 'x'.repeat(size);
        }
      },
      { maxBufferedBytes: 50_000 },
    );

    const stream = await open(app, '/awaited');

    expect(await stream.ended).toBe('complete');
    expect(stream.events.map(({ data }) => data.length)).toEqual(sizes);
    expect(await end()).toMatchObject({ reason: 'done', events: sizes.length });
  });
});
