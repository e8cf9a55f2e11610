import { Readable } from 'node:stream';
import { afterEach, describe, expect, it } from '@jest/globals';
import { Observable } from 'rxjs';
import type { CloseReason, StreamItems } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import { Gate } from '../../support/gate.js';
import { closeAll, open, platforms } from '../../support/apps/platforms.js';
import { createStreamApp } from './stream-app.js';
import type { StreamApp } from './stream-app.js';

/** The signs of its end that a source has seen. */
interface Seen {
  aborted: boolean;
  stopped: boolean;
}

const untilAborted = (signal: AbortSignal) =>
  new Promise<never>((_resolve, reject) =>
    signal.addEventListener('abort', () => reject(new Error('the call was aborted'))),
  );

/** Sources that yield one item, then wait for the next for ever. */
const waiting: [
  string,
  (context: { signal: AbortSignal }, seen: Seen) => StreamItems | Promise<StreamItems>,
][] = [
  [
    'a generator whose call is aborted by the signal',
    async function* ({ signal }, seen) {
      yield 'first';
      try {
        await untilAborted(signal);
      } finally {
        seen.stopped = true;
      }
    },
  ],
  [
    'an iterator that has a return()',
    (_context, seen) => ({
      [Symbol.asyncIterator]: () => {
        let isFirst = true;
        return {
          next: () => {
            const result = isFirst
              ? Promise.resolve({ done: false, value: 'first' })
              : new Promise<never>(() => {});
            isFirst = false;
            return result;
          },
          return: async () => {
            seen.stopped = true;
            return { done: true, value: undefined };
          },
        };
      },
    }),
  ],
  [
    'a ReadableStream within its pull()',
    (_context, seen) => {
      let isFirst = true;
      return new ReadableStream(
        {
          pull(controller) {
            if (isFirst) {
              isFirst = false;
              controller.enqueue('first');
              return undefined;
            }
            return new Promise(() => {});
          },
          cancel() {
            seen.stopped = true;
          },
        },
        { highWaterMark: 0 },
      );
    },
  ],
  [
    'a Readable of Node within its read()',
    (_context, seen) => {
      let isFirst = true;
      return new Readable({
        objectMode: true,
        read() {
          if (isFirst) {
            isFirst = false;
            this.push('first');
          }
        },
        destroy(error, done) {
          seen.stopped = true;
          done(error);
        },
      });
    },
  ],
  [
    'an Observable',
    (_context, seen) =>
      new Observable((subscriber) => {
        subscriber.next('first');
        return () => {
          seen.stopped = true;
        };
      }),
  ],
];

describe.each(platforms)('a stream() whose client leaves, on $name', (platform) => {
  afterEach(closeAll);

  it.each(waiting.flatMap(([name, make]) => [['GET', name, make] as const, ['POST', name, make] as const]))(
    'stops what waits for its next item at once, %s, %s',
    async (method, _name, make) => {
      const seen: Seen = { aborted: false, stopped: false };
      const { app, end, nothingLeft } = await createStreamApp(platform, (context) => {
        context.signal.addEventListener('abort', () => (seen.aborted = true));
        return make(context, seen);
      });
      const stream = await open(app, '/awaited', { method });
      await stream.next();
      expect(seen).toEqual({ aborted: false, stopped: false });

      await stream.close();

      expect(await end()).toEqual({ reason: 'client', events: 1, bytes: 'data: first\n\n'.length });
      await waitFor(() => seen.stopped && seen.aborted);
      await nothingLeft();
    },
  );

  it('stops a source that waits for its first item, before the headers are out', async () => {
    let hasBegun = false;
    let isStopped = false;
    const { app, end, nothingLeft } = await createStreamApp(platform, async ({ signal }) => {
      hasBegun = true;
      try {
        return await untilAborted(signal);
      } finally {
        isStopped = true;
      }
    });
    const giveUp = new AbortController();
    const opening = open(app, '/awaited', { signal: giveUp.signal }).catch((error: Error) => error);
    await waitFor(() => hasBegun);

    giveUp.abort();

    expect(await opening).toMatchObject({ code: 'aborted' });
    expect(await end()).toEqual({ reason: 'client', events: 0, bytes: 0 });
    expect(isStopped).toBe(true);
    await nothingLeft();
  });

  it('runs the finally block of a generator that has yielded an item', async () => {
    let isStopped = false;
    const gate = new Gate();
    const { app, end } = await createStreamApp(platform, async function* () {
      try {
        yield 'first';
        await gate.opened;
        yield 'second';
        yield 'third';
      } finally {
        isStopped = true;
      }
    });
    const stream = await open(app, '/awaited');
    await stream.next();

    await stream.close();
    expect((await end()).reason).toBe('client');
    gate.open();

    await waitFor(() => isStopped);
  });

  it('resolves even if the source ignores the abort', async () => {
    const { app, end, nothingLeft } = await createStreamApp(platform, async function* () {
      yield 'first';
      await new Promise(() => {});
    });
    const stream = await open(app, '/awaited');
    await stream.next();

    await stream.close();

    expect(await end()).toMatchObject({ reason: 'client', events: 1 });
    await nothingLeft();
  });

  it('pulls nothing more once the response is destroyed, and counts what was sent', async () => {
    let pulled = 0;
    const { app, controller, end } = await createStreamApp(platform, async function* () {
      yield 'first';
      controller.raw!.destroy();
      // A loop without end would block the event loop: promises alone leave no turn for the close.
      while (pulled < 100_000) {
        pulled += 1;
        yield 'more';
      }
    });

    const stream = await open(app, '/awaited').catch(() => undefined);

    expect(await (stream?.ended ?? 'aborted')).toBe('aborted');
    expect(await end()).toEqual({ reason: 'client', events: 1, bytes: 'data: first\n\n'.length });
    expect(pulled).toBeLessThan(10);
  });

  it.each([true, false])(
    'is not done where all was sent and not read, leaving by a reset: %s',
    async (reset) => {
      const { app, controller, sse, end } = await createStreamApp(
        platform,
        async function* () {
          yield 'first';
          await gate.opened;
          const [connection] = sse.connections;
          for (let n = 0; n < 200; n += 1) {
            connection!.send('x'.repeat(100_000));
          }
        },
        { maxBufferedBytes: 100_000_000 },
      );
      const gate = new Gate();
      const stream = await open(app, '/awaited');
      stream.pause();
      gate.open();
      // The source has ended, and the response waits for the client.
      await waitFor(() => sse.connections.size === 0);
      expect(controller.ends).toEqual([]);

      await stream.close({ reset });

      expect(await end()).toMatchObject({ reason: 'client' });
    },
  );

  it('does not count the error of an aborted source as a failure', async () => {
    const errors: unknown[] = [];
    const gate = new Gate();
    const { app, end } = await createStreamApp(
      platform,
      async function* () {
        yield 'first';
        await gate.opened;
        throw new Error('aborted, as asked');
      },
      {},
      { logger: { error: (...parts: unknown[]) => errors.push(parts), log() {}, warn() {} } },
    );
    const stream = await open(app, '/awaited');
    await stream.next();

    await stream.close();
    const ended = await end();
    gate.open();
    await new Promise((resolve) => setImmediate(resolve));

    expect(ended).toEqual({ reason: 'client', events: 1, bytes: 'data: first\n\n'.length });
    expect(errors).toEqual([]);
  });

  it('does not call the source if the client has left before stream() was called', async () => {
    let calls = 0;
    const gate = new Gate();
    const { app, controller, end, nothingLeft } = await createStreamApp(platform, async function* () {
      calls += 1;
      yield 'first';
    });
    controller.ready = gate.opened;
    const giveUp = new AbortController();
    const opening = open(app, '/awaited', { signal: giveUp.signal }).catch((error: Error) => error);
    await waitFor(() => controller.raw);
    const hasLeft = new Promise((resolve) => (controller.raw as unknown as Readable).once('close', resolve));

    giveUp.abort();
    await opening;
    await hasLeft;
    gate.open();

    expect(await end()).toEqual({ reason: 'client', events: 0, bytes: 0 });
    expect(calls).toBe(0);
    await nothingLeft();
  });
});

describe.each(platforms)('a stream() that the app ends, on $name', (platform) => {
  afterEach(closeAll);

  const cases: [string, CloseReason, (context: StreamApp) => unknown][] = [
    ['app.close()', 'shutdown', ({ app }) => app.close()],
    ['connections.close()', 'server', ({ sse }) => sse.connections.close()],
    ['maxConnectionMs', 'expired', () => undefined],
  ];

  it.each(
    cases.flatMap(([what, reason, act]) => [
      ['GET', what, reason, act] as const,
      ['POST', what, reason, act] as const,
    ]),
  )('does not look complete to a %s, %s: %s', async (method, what, reason, act) => {
    let isStopped = false;
    const context = await createStreamApp(
      platform,
      async function* ({ signal }) {
        yield 'first';
        try {
          await untilAborted(signal);
        } finally {
          isStopped = true;
        }
      },
      what === 'maxConnectionMs' ? { maxConnectionMs: 300 } : {},
    );
    const stream = await open(context.app, '/awaited', { method });
    await stream.next();

    await act(context);

    expect(await stream.ended).toBe('aborted');
    expect(await context.end()).toEqual({ reason, events: 1, bytes: 'data: first\n\n'.length });
    await waitFor(() => isStopped);
    await context.nothingLeft();
  });

  it('does not look complete if no item was sent yet', async () => {
    let hasBegun = false;
    const { app, end } = await createStreamApp(platform, async ({ signal }) => {
      hasBegun = true;
      return untilAborted(signal);
    });
    const opening = open(app, '/awaited');
    await waitFor(() => hasBegun);

    await app.close();

    const stream = await opening;
    expect(await stream.ended).toBe('aborted');
    expect(stream.events).toEqual([]);
    expect(await end()).toEqual({ reason: 'shutdown', events: 0, bytes: 0 });
  });
});
