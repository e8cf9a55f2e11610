import { afterEach, describe, expect, it } from '@jest/globals';
import { memory } from 'nestjs-event-stream';
import type { Follow, SseConnection } from 'nestjs-event-stream';
import { defineTopic, SseClient } from 'nestjs-event-stream/client';
import type { ClientFollowOptions, Feed, SseClientOptions } from 'nestjs-event-stream/client';
import { waitFor } from 'nestjs-event-stream/testing';
import { baseOf, closeAll } from '../../support/apps/platforms.js';
import { cutConnections } from '../../support/faults/cut-connections.js';
import { createTopicsApp, nothingLeft, rows } from '../topics/topics-app.js';
import type { TopicsApp } from '../topics/topics-app.js';

const numbers = defineTopic<{ message: number }>('a.*');
type Log = unknown[];

describe.each(rows.filter(({ platform }) => !platform.http2))(
  'a feed, through $style on $platform.name',
  ({ platform, path }) => {
    const feeds: { close(): void }[] = [];
    afterEach(async () => {
      feeds.splice(0).forEach((feed) => feed.close());
      await closeAll();
    });

    const createApp = async (
      handle: (connection: SseConnection) => Follow = (connection) => connection.follow('a.*'),
      options = {},
    ) => {
      const context = await createTopicsApp(platform, { retryMs: 10, ...options });
      context.follow(handle);
      return context;
    };

    /** A feed, and all that it hands over, in order. */
    const follow = (
      { app }: TopicsApp,
      options: ClientFollowOptions = {},
      clientOptions: SseClientOptions = {},
    ): { feed: Feed<{ message: number }>; log: Log } => {
      const client = new SseClient({ baseUrl: baseOf(app), retry: { minMs: 10 }, ...clientOptions });
      const log: Log = [];
      const feed = client.follow(path, numbers, {
        onState: (state, { source }) => log.push({ [source]: state }),
        onReset: (reason) => log.push({ reset: reason }),
        ...options,
      });
      feed.on('message', (data) => log.push(data));
      feeds.push(feed);
      return { feed, log };
    };
    const until = (log: Log, last: unknown) =>
      waitFor(() => JSON.stringify(log.at(-1)) === JSON.stringify(last), {
        timeoutMs: 15_000,
        describe: () => `${JSON.stringify(last)}, after ${JSON.stringify(log)}`,
      });

    it('brings each event once, over connections that are cut', async () => {
      const context = await createApp();
      const { feed, log } = follow(context);
      await waitFor(() => context.counts.new === 1);
      for (let n = 1; n <= 20; n += 1) {
        await context.publish(`a.${n}`, n);
        if (n % 4 === 0) {
          cutConnections(context.connections.splice(0));
        }
      }
      await until(log, 20);
      expect(log).toEqual(Array.from({ length: 20 }, (_, n) => n + 1));
      feed.close();
      expect(feed.status).toBe('closed');
      await nothingLeft(context);
    });

    it('reads the state when its place is known, and hands over what follows', async () => {
      const context = await createApp();
      let count = 0;
      const publish = async () => {
        count += 1;
        await context.publish('a.1', count);
      };
      await publish();
      let answer!: () => void;
      const asked = new Promise<void>((resolve) => {
        answer = resolve;
      });
      const { log } = follow(context, {
        state: async () => {
          await publish();
          const at = await context.sse.position();
          const data = count;
          await publish();
          await asked;
          return { data, at };
        },
      });
      await waitFor(() => count === 3);
      await publish();
      answer();
      await until(log, 4);
      expect(log).toEqual([{ state: 2 }, 3, 4]);
    });

    it('takes the state from the server, if it sends one', async () => {
      const context = await createApp((connection) =>
        connection.follow('a.*', { snapshot: () => ({ type: 'whole', data: { all: 1 } }) }),
      );
      const { log } = follow(context, { state: () => Promise.reject(new Error('Not to be asked.')) });
      await until(log, { snapshot: { all: 1 } });
      await context.publish('a.1', 2);
      await until(log, 2);
      cutConnections(context.connections.splice(0));
      await context.publish('a.1', 3);
      await until(log, 3);
      expect(log).toEqual([{ snapshot: { all: 1 } }, 2, 3]);
    });

    it('reads the state again after a reset', async () => {
      const context = await createApp(undefined, {
        log: memory({ maxEvents: 5 }),
        ringEvents: 5,
        retryMs: 300,
      });
      let count = 0;
      const { log } = follow(context, { state: async () => count });
      await until(log, { state: 0 });
      cutConnections(context.connections.splice(0));
      for (count = 1; count <= 20; count += 1) {
        await context.publish('a.1', count);
      }
      count = 20;
      await until(log, { state: 20 });
      await context.publish('a.1', 21);
      await until(log, 21);
      expect(log).toEqual([{ state: 0 }, { reset: 'trimmed' }, { state: 20 }, 21]);
    });

    it('asks for headers anew after a 401', async () => {
      const context = await createApp();
      let tokens = 0;
      const seen: (string | null)[] = [];
      const { log } = follow(
        context,
        {},
        {
          headers: async () => ({ authorization: `Bearer ${(tokens += 1)}` }),
          fetch: (url, init) => {
            seen.push(new Headers(init?.headers).get('authorization'));
            return seen.length === 1
              ? Promise.resolve(new Response('expired', { status: 401 }))
              : fetch(url, init);
          },
        },
      );
      await waitFor(() => context.counts.new === 1);
      await context.publish('a.1', 1);
      await until(log, 1);
      expect(seen).toEqual(['Bearer 1', 'Bearer 2']);
    });

    it('hears the heartbeat of the server, and takes silence for a dead connection', async () => {
      const context = await createApp(undefined, { heartbeatMs: 50 });
      const errors: string[] = [];
      let isDeaf = true;
      const { log } = follow(
        context,
        { onError: ({ code }) => errors.push(code) },
        { fetch: async (url, init) => withholding(await fetch(url, init), () => isDeaf) },
      );
      await waitFor(() => errors.includes('silent'), { timeoutMs: 15_000 });
      isDeaf = false;
      // What is published while it has no connection, and has never had an id, is not its own.
      await waitFor(
        async () => {
          await context.publish('a.1', 1);
          return log.length > 0;
        },
        { timeoutMs: 15_000 },
      );
      expect(log[0]).toBe(1);
    });

    it('goes on at its place when it follows more, with the state of what is new', async () => {
      const context = await createApp((connection) => {
        const { url = '' } = connection.request as { url?: string };
        connection.follow('a.1', { envelope: true });
        return connection.follow(url.includes('more') ? 'a.2' : 'a.1', {
          envelope: true,
          snapshot: () => ({ data: { of: url.includes('more') ? 2 : 1 } }),
        });
      });
      const { feed, log } = follow(context, { envelope: true });
      await until(log, { snapshot: { of: 1 } });
      await context.publish('a.1', 1);
      await until(log, 1);
      feed.use(`${path}?more`, { added: numbers.of(2) });
      await context.publish('a.1', 2);
      await until(log, 2);
      await context.publish('a.2', 3);
      await until(log, 3);
      expect(log).toEqual([{ snapshot: { of: 1 } }, 1, { snapshot: { of: 2 } }, 2, 3]);

      // What was added is not new any more.
      cutConnections(context.connections.splice(0));
      await context.publish('a.2', 4);
      await until(log, 4);
      expect(log.slice(5)).toEqual([4]);
    });

    it('reads the state of what is new, if the server has none', async () => {
      const context = await createApp((connection) => connection.follow('a.*', { envelope: true }));
      let all = 0;
      const { feed, log } = follow(context, { envelope: true, state: async () => all });
      await until(log, { state: 0 });
      await context.publish('a.1', 1);
      all = 1;
      await until(log, 1);
      feed.use(`${path}?more`, {
        added: 'a.2',
        state: async () => {
          await context.publish('a.1', 2);
          await context.publish('a.2', 3);
          const at = await context.sse.position();
          await context.publish('a.2', 4);
          return { data: 'of 2, up to 3', at };
        },
      });
      await until(log, 4);
      expect(log).toEqual([{ state: 0 }, 1, { state: 'of 2, up to 3' }, 2, 4]);
    });

    it('tells which topic an event is of, and gives those of a pattern apart', async () => {
      const context = await createApp((connection) => connection.follow('a.*', { envelope: true }));
      const { feed, log } = follow(context, { envelope: true });
      const own: unknown[] = [];
      feed.only(numbers.of(2)).on('message', (data, { topic }) => own.push([topic, data]));
      await waitFor(() => context.counts.new === 1);
      await context.publish('a.1', 1);
      await context.publish('a.2', 2);
      await until(log, 2);
      expect(own).toEqual([['a.2', 2]]);
    });

    it('is read by several loops, each from when it begins, and ends them', async () => {
      const context = await createApp();
      const { feed } = follow(context);
      const read = async (into: unknown[]) => {
        for await (const { data } of feed) {
          into.push(data);
        }
      };
      const [first, second]: [unknown[], unknown[]] = [[], []];
      const reading = [read(first)];
      await waitFor(() => context.counts.new === 1);
      await context.publish('a.1', 1);
      await until(first, 1);
      reading.push(read(second));
      await context.publish('a.1', 2);
      await until(second, 2);
      feed.close();
      await Promise.all(reading);
      expect([first, second]).toEqual([[1, 2], [2]]);
    });

    it('keeps state and place over a reload', async () => {
      const context = await createApp();
      let kept: string | undefined;
      const resume = {
        state: () => 'kept',
        save: (text: string | undefined) => {
          kept = text;
        },
        load: () => kept,
      };
      const { feed, log } = follow(context, { state: async () => 'read', resume });
      await until(log, { state: 'read' });
      const at = await context.sse.position();
      feed.close();
      await context.publish('a.1', 1);
      kept = JSON.stringify({
        identity: null,
        url: `${baseOf(context.app)}${path}`,
        place: at,
        state: 'kept',
      });

      const next = follow(context, { state: async () => 'read', resume });
      await until(next.log, 1);
      expect(next.log).toEqual([{ saved: 'kept' }, 1]);
      expect(kept).toBeUndefined();

      // Of another user it is nothing.
      kept = JSON.stringify({
        identity: 'other',
        url: `${baseOf(context.app)}${path}`,
        place: at,
        state: 'x',
      });
      const other = follow(context, { state: async () => 'read', resume });
      await until(other.log, { state: 'read' });
      expect(kept).toBeUndefined();
    });

    it('ends for good when it is answered with 204', async () => {
      const context = await createApp();
      const statuses: string[] = [];
      const { feed } = follow(
        context,
        { onStatus: (status) => statuses.push(status) },
        { fetch: () => Promise.resolve(new Response(null, { status: 204 })) },
      );
      for await (const event of feed) {
        throw new Error(`Nothing was to come, and not ${JSON.stringify(event)}.`);
      }
      expect(statuses).toEqual(['closed']);
    });
  },
);

/** An answer whose bytes after the first are kept from the client for as long as that is wished. */
function withholding(response: Response, isDeaf: () => boolean): Response {
  let isFirst = true;
  const body = response.body!.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        if (isFirst || !isDeaf()) {
          controller.enqueue(chunk);
        }
        isFirst = false;
      },
    }),
  );
  return new Response(body, response);
}
