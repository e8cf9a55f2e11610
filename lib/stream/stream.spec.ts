import type { ServerResponse } from 'node:http';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { waitFor } from 'nestjs-event-stream/testing';
import type { SseTestStream } from 'nestjs-event-stream/testing';
import { CONNECTION_SETTINGS, createRegistry, StreamServer } from '../../test/support/apps/stream-server.js';
import { of } from 'rxjs';
import { eventStreamOf } from '../connection/index.js';
import type { ConnectionSettings, EventStreamResponse } from '../connection/index.js';
import { ConnectionRegistry } from '../connection/registry.js';
import { toPlatform } from '../http/platform.js';
import type { StreamFormat } from './format.js';
import { streamTo } from './stream.js';
import type { StreamEnd, StreamSource } from './stream.js';

describe('streamTo', () => {
  let server: StreamServer;
  let registry: ConnectionRegistry;
  let reported: string[];
  let settings: Partial<ConnectionSettings>;
  let source: StreamSource;
  let format: StreamFormat | undefined;
  let doneEvent: string | undefined;
  let prepare: (res: ServerResponse) => void;
  let connection: EventStreamResponse | undefined;
  let end: StreamEnd | undefined;
  let failure: unknown;
  let streams: SseTestStream[];

  beforeEach(async () => {
    reported = [];
    settings = {};
    format = undefined;
    doneEvent = undefined;
    prepare = () => undefined;
    connection = undefined;
    end = undefined;
    failure = undefined;
    streams = [];
    registry = createRegistry({
      reporter: {
        warn: (message) => reported.push(message),
        error: (message, error) => reported.push(`${message} ${String(error)}`),
        debug: (message) => reported.push(message),
      },
    });
    server = await StreamServer.listen((_req, res) => {
      prepare(res);
      connection = registry.admit({
        platform: toPlatform(res),
        settings: { ...CONNECTION_SETTINGS, ...settings },
        finite: true,
      });
      const publicError = () => ({ message: 'masked', status: 500 });
      streamTo(connection, source, { wheel: registry.wheel, publicError, format, doneEvent }).then(
        (streamEnd) => (end = streamEnd),
        // Answers as a filter of the app would.
        (error: unknown) => {
          failure = error;
          delete (res as { writeHead?: unknown }).writeHead;
          res.statusCode = 418;
          res.end('a filter');
        },
      );
    });
  });

  afterEach(async () => {
    jest.useRealTimers();
    await Promise.all(streams.map((stream) => stream.close()));
    await server.close();
    await waitFor(() => registry.wheel.size === 0 && registry.size === 0, {
      describe: () => `no deadline and no connection left, but ${registry.wheel.size} and ${registry.size}`,
    });
  });

  const open = async (): Promise<SseTestStream> => {
    const stream = await server.open();
    streams.push(stream);
    return stream;
  };

  const stopTheClock = () =>
    jest.useFakeTimers({ doNotFake: ['nextTick', 'setImmediate', 'queueMicrotask'] });

  it('resolves when the client has got all of it', async () => {
    source = () => of('a', 'b');

    const stream = await open();

    expect(await stream.body()).toBe('retry: 3000\ndata: a\n\ndata: b\n\n');
    await waitFor(() => end);
    expect(end).toEqual({ reason: 'done', events: 2, bytes: 18 });
  });

  it('leaves the response untouched if the source fails before the first item', async () => {
    source = () => {
      throw new Error('no model');
    };

    const stream = await open();

    expect(stream.status).toBe(418);
    expect(await stream.body()).toBe('a filter');
    expect(failure).toEqual(new Error('no model'));
    expect(await connection!.closed).toBe('error');
    expect(reported).toEqual([]);
  });

  it('releases the response, so that it is no connection any more', async () => {
    let found: unknown;
    source = async () => {
      throw new Error('no model');
    };
    prepare = (res) => res.once('finish', () => (found = eventStreamOf(toPlatform(res).raw)));

    await (
      await open()
    ).ended;

    expect(found).toBeUndefined();
  });

  it.each(['an item', '3 s'])(
    'passes on a failure to send the headers, at %s, and stops the source',
    async (at) => {
      let isStopped = false;
      source = async function* ({ signal }) {
        try {
          yield* at === 'an item' ? ['first'] : [];
          await new Promise((_resolve, reject) =>
            signal.addEventListener('abort', () => reject(signal.reason as Error)),
          );
        } finally {
          isStopped = true;
        }
      };
      prepare = (res) => {
        // Throws as a listener of `on-headers` may, for example in middleware for sessions or compression.
        res.writeHead = () => {
          throw new Error('no headers');
        };
      };
      stopTheClock();
      const opening = open();
      await waitFor(() => connection);

      await jest.advanceTimersByTimeAsync(3_100);

      const stream = await opening;
      expect(stream.status).toBe(418);
      expect(failure).toEqual(new Error('no headers'));
      await waitFor(() => isStopped);
      expect(reported).toEqual([]);
    },
  );

  it('destroys a response whose headers cannot be sent at its time limit, and says so', async () => {
    settings = { maxConnectionMs: 1_000 };
    source = () => new Promise(() => {});
    prepare = (res) => {
      res.writeHead = () => {
        throw new Error('no headers');
      };
    };
    stopTheClock();
    const opening = open().catch((error: Error) => error);
    await waitFor(() => connection);

    await jest.advanceTimersByTimeAsync(1_100);

    expect(await opening).toMatchObject({ code: 'unreachable' });
    await waitFor(() => end);
    expect(end).toEqual({ reason: 'expired', events: 0, bytes: 0 });
    expect(reported).toEqual([expect.stringMatching(/no headers/)]);
  });

  it('cancels the deadline of 3 s when it ends earlier', async () => {
    source = () => of('a');

    await (
      await open()
    ).ended;

    await waitFor(() => end);
    expect(registry.wheel.size).toBe(0);
  });

  it('counts only what was sent', async () => {
    settings = { maxEventBytes: 20 };
    source = async function* () {
      yield 'a';
      yield 'x'.repeat(50);
    };

    const stream = await open();

    expect(await stream.ended).toBe('aborted');
    await waitFor(() => end);
    expect(end).toMatchObject({ reason: 'error', events: 1, error: { code: 'event-too-large' } });
    expect(reported).toHaveLength(1);
  });

  it('ends as client if the client leaves before it has got all', async () => {
    settings = { maxBufferedBytes: 100_000_000, maxBurstBytes: 100_000_000 };
    source = async function* () {
      yield 'a';
      await waitFor(() => streams.length > 0);
      streams[0]!.pause();
      for (let n = 0; n < 200; n += 1) {
        connection!.send('x'.repeat(100_000));
      }
    };
    const stream = await open();
    await waitFor(() => connection!.isClosed);
    expect(end).toBeUndefined();

    await stream.close();

    await waitFor(() => end);
    expect(end).toMatchObject({ reason: 'client' });
  });

  it('tells the end in one event with the name doneEvent', async () => {
    doneEvent = 'done';
    source = () => of('a');
    expect(await (await open()).body()).toBe('retry: 3000\ndata: a\n\nevent: done\ndata: {}\n\n');
    await waitFor(() => end);
    expect(end).toEqual({ reason: 'done', events: 1, bytes: 31 });

    end = undefined;
    source = async function* () {
      yield 'a';
      throw new Error('broken');
    };
    const failed = await open();
    expect(await failed.ended).toBe('aborted');
    expect(failed.events.map(({ type }) => type)).toEqual(['message', 'error']);
    await waitFor(() => end);
  });

  it('cuts a failure after a pause, so that no proxy drops the event that tells of it', async () => {
    source = async function* () {
      yield 'a';
      throw new Error('broken');
    };
    // Measured by the server's clock: a client that is late sees a shorter pause.
    let writtenAt = Infinity;
    let destroyedAt = 0;
    prepare = (res) => {
      const { write, destroy } = res;
      res.write = (...args: unknown[]) => {
        writtenAt = performance.now();
        return Reflect.apply(write, res, args) as boolean;
      };
      res.destroy = (...args: unknown[]) => {
        destroyedAt = performance.now();
        return Reflect.apply(destroy, res, args) as typeof res;
      };
    };
    const stream = await open();
    expect(await stream.ended).toBe('aborted');
    expect(destroyedAt - writtenAt).toBeGreaterThan(200);
    await waitFor(() => end);
  });

  describe('with a format', () => {
    const words: StreamFormat = {
      encode: (item) => ({ data: item }),
      error: ({ reason, message }) => ({ type: 'failed', data: `${reason}: ${message}` }),
      done: () => ({ type: 'end', data: null }),
    };

    const waiting: StreamSource = async function* ({ signal }) {
      yield 'a';
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
    };

    it('tells the end', async () => {
      format = words;
      source = () => of('a');

      expect(await (await open()).body()).toBe('retry: 3000\ndata: a\n\nevent: end\ndata: null\n\n');
      await waitFor(() => end);
      expect(end).toEqual({ reason: 'done', events: 1, bytes: 32 });
    });

    it('ends in order with the error of the format: a cut would take the error from a late reader', async () => {
      format = words;
      source = async function* () {
        yield 'a';
        throw new Error('broken');
      };

      expect(await (await open()).body()).toBe(
        'retry: 3000\ndata: a\n\nevent: failed\ndata: error: masked\n\n',
      );
      await waitFor(() => end);
      expect(end).toMatchObject({ reason: 'error', error: new Error('broken') });
      expect(reported).toEqual(['A stream failed after its headers were sent. Error: broken']);
    });

    it('ends with the error of the format, and no cut, if it is ended before its source', async () => {
      format = words;
      source = waiting;
      const stream = await open();
      await stream.next();

      connection!.interrupt('shutdown', 7);

      expect(await stream.body()).toBe(
        'retry: 3000\ndata: a\n\nretry: 7\nevent: failed\ndata: shutdown: The server is closing. Try again.\n\n',
      );
      await waitFor(() => end);
      expect(end).toMatchObject({ reason: 'shutdown', events: 1 });
    });

    it('is cut if the format has no closing frames', async () => {
      format = { ...words, error: () => undefined };
      source = waiting;
      const stream = await open();
      await stream.next();

      connection!.finish('server');

      expect(await stream.ended).toBe('aborted');
      await waitFor(() => end);
    });
  });
});
