import { gunzipSync } from 'node:zlib';
import { afterEach, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { waitFor } from 'nestjs-event-stream/testing';
import {
  CONNECTION_SETTINGS,
  createRegistry,
  StreamServer,
  TOPIC_SETTINGS,
} from '../../test/support/apps/stream-server.js';
import { turns, Twins } from '../../test/support/clients/twin-responses.js';
import type {
  Compression,
  ConnectionRegistry,
  EventStreamResponse,
  Follow,
  FollowOptions,
  SseConnection,
} from '../connection/index.js';
import { beat } from '../connection/heartbeat.js';
import { TAIL_BYTES } from '../compression/shared-stream.js';
import { memory } from '../engines/memory/index.js';
import { toPlatform } from '../http/index.js';
import { Topics } from './topics.js';

const SILENT = { warn: () => undefined, error: () => undefined, debug: () => undefined };
const HEARTBEAT_MS = 10_000;
// So small that a client which lags reads pages of the log, and resumes may come too late.
const LOG = { maxEvents: 40 };
const RING_EVENTS = 8;
const WORDS = ['total', 'paid', 'ready', '订单', 'é', '\n', '{"a":1}'];

const client = fc.nat(7);
const text = fc.record({ word: fc.constantFrom(...WORDS), times: fc.integer({ min: 0, max: 1_500 }) });
const step = fc.oneof(
  {
    weight: 2,
    arbitrary: fc.record({ join: fc.constantFrom('orders', 'all', 'some', 'envelope', 'snapshot') }),
  },
  { weight: 8, arbitrary: fc.record({ publish: fc.array(text, { minLength: 1, maxLength: 4 }) }) },
  { weight: 2, arbitrary: fc.record({ publishOther: text }) },
  { weight: 2, arbitrary: fc.record({ send: text, to: client }) },
  { weight: 1, arbitrary: fc.record({ sendToAll: text }) },
  { weight: 1, arbitrary: fc.record({ comment: text, to: client }) },
  { weight: 1, arbitrary: fc.record({ beat: fc.constant(true) }) },
  { weight: 2, arbitrary: fc.record({ stall: client }) },
  { weight: 2, arbitrary: fc.record({ drain: client }) },
  { weight: 1, arbitrary: fc.record({ leave: client }) },
  { weight: 1, arbitrary: fc.record({ end: client }) },
  { weight: 1, arbitrary: fc.record({ fail: client }) },
  { weight: 1, arbitrary: fc.record({ resume: client, with: fc.constantFrom('own', 'invalid') }) },
  { weight: 1, arbitrary: fc.record({ reset: fc.constantFrom('diverged', 'trimmed') }) },
);
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

let closeServer: (() => Promise<unknown>) | undefined;

// Also after a test that has failed: a mutant is killed by one, and its process is to end.
afterEach(async () => {
  await closeServer?.();
  closeServer = undefined;
});

/** An app of topics, its log, and the twins that follow. */
class World {
  readonly all: Twins[] = [];
  readonly topics: Topics;
  readonly registry: ConnectionRegistry;
  readonly #compression: Compression;
  #now = 0;

  constructor(compression: Compression) {
    this.#compression = compression;
    const authorize = (topic: string, { data }: SseConnection) => topic !== 'others' || data !== 'some';
    const settings = { ...TOPIC_SETTINGS, ringEvents: RING_EVENTS, authorize };
    this.topics = new Topics(memory(LOG)(), settings, SILENT);
    this.registry = createRegistry({ following: this.topics });
    // The clock stands still until all are silent.
    this.registry.wheel.now = () => this.#now;
  }

  join(how: string, lastEventId?: string): void {
    const twins = new Twins(this.registry, this.#compression, { lastEventId, data: how });
    const snapshot = () => ({ data: 'state '.repeat(200), type: 'state' });
    twins.each((connection) => {
      connection.follow(how === 'all' || how === 'some' ? '>' : 'orders', {
        envelope: how === 'envelope',
        ...(how === 'snapshot' ? { snapshot } : {}),
      });
      connection.commit();
    });
    this.all.push(twins);
  }

  async take(taken: Step): Promise<void> {
    const of = (n: number): Twins[] => (this.all.length > 0 ? [this.all[n % this.all.length]!] : []);
    const open = (twins: Twins[], act: Parameters<Twins['each']>[0]) => twins.forEach((one) => one.each(act));
    if ('join' in taken) {
      this.join(taken.join);
    } else if ('publish' in taken) {
      await Promise.all(taken.publish.map((data) => this.topics.publish('orders', textOf(data))));
    } else if ('publishOther' in taken) {
      await this.topics.publish('others', { type: 'other', data: textOf(taken.publishOther) });
    } else if ('send' in taken) {
      open(of(taken.to), (connection) => connection.send(textOf(taken.send)));
    } else if ('sendToAll' in taken) {
      open(this.all, (connection) => connection.send(textOf(taken.sendToAll)));
    } else if ('comment' in taken) {
      open(of(taken.to), (connection) => connection.comment(textOf(taken.comment)));
    } else if ('beat' in taken) {
      this.#now += HEARTBEAT_MS;
      const now = this.#now;
      open(this.all, (connection) => {
        if (!connection.isClosed) {
          beat(connection.output, HEARTBEAT_MS, now);
        }
      });
      this.#now += 1;
    } else if ('stall' in taken) {
      open(of(taken.stall), (_, response) => (response.reads = false));
    } else if ('drain' in taken) {
      open(of(taken.drain), (_, response) => response.drain());
    } else if ('leave' in taken) {
      open(of(taken.leave), (_, response) => response.destroy());
    } else if ('end' in taken) {
      open(of(taken.end), (connection) => connection.finish('server', 50));
    } else if ('fail' in taken) {
      open(of(taken.fail), (connection) => {
        connection.sendFailure({ type: 'error', data: 'failed '.repeat(100) });
        connection.cut('error');
      });
    } else if ('resume' in taken) {
      of(taken.resume).forEach((twins) => {
        twins.each((_, response) => response.destroy());
        this.join('orders', taken.with === 'own' ? twins.lastId : 'nonsense');
      });
    } else {
      this.topics.onReset(taken.reset);
    }
  }

  async settle(): Promise<void> {
    for (let n = 0; n < 5_000 && (n < 6 || this.topics.lag().behind > 0); n += 1) {
      this.all.forEach((twins) => twins.responses.forEach((response) => response.drain()));
      await turns(2);
    }
  }

  async close(): Promise<void> {
    this.all.forEach((twins) => twins.responses.forEach((response) => response.destroy()));
    await this.topics.close();
  }
}

const textOf = ({ word, times }: { word: string; times: number }) => word.repeat(times);

it.each(['events', 'stream'] as const)(
  'with %s, each client decodes byte for byte what it would have got uncompressed',
  async (compression) => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 50, size: 'max' }), async (steps) => {
        const world = new World(compression);
        await world.topics.start();
        try {
          world.join('orders');
          world.join('orders');
          for (const taken of steps) {
            await world.take(taken);
            await turns(3);
          }
          await world.settle();
          for (const { gzip, plain } of world.all) {
            expect(gzip.headers['content-encoding']).toBe('gzip');
            expect(plain.headers['content-encoding']).toBeUndefined();
            expect(gzip.text).toBe(plain.text);
            // Neither a last block nor a checksum: each stream may go on.
            expect(() => gunzipSync(gzip.bytes)).toThrow('unexpected end of file');
          }
        } finally {
          await world.close();
        }
      }),
      { numRuns: 15 },
    );
  },
  120_000,
);

/** A chunk of a chat, as models send them: 300 bytes around a word. */
const chatChunk = (n: number) => ({
  id: 'chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT',
  object: 'chat.completion.chunk',
  created: 1_764_480_000,
  model: 'gpt-5-mini-2026-08-07',
  service_tier: 'default',
  system_fingerprint: 'fp_44709d6fcb',
  choices: [{ index: 0, delta: { content: `word${(n * 7919) % 997}` }, logprobs: null, finish_reason: null }],
});

/** Text that only every fourth event has: a block refers to the last of its kind, not to the event before. */
const oneOfFour = (n: number) => Array.from({ length: 30 }, (_, k) => Math.sin((n % 4) * 100 + k)).join();

it('with stream, clients that join one after another decode, each with less of the tail than the one before', async () => {
  const world = new World('stream');
  await world.topics.start();
  for (let n = 0; n < 12; n += 1) {
    world.join('orders');
    await world.topics.publish('orders', oneOfFour(n));
    await turns(3);
  }
  world.all.forEach(({ gzip, plain }) => expect(gzip.text).toBe(plain.text));
  // What one client is sent alone puts it out of step.
  for (let n = 12; n < 24; n += 1) {
    world.all[n - 12]!.each((connection) => connection.send('alone '.repeat(100)));
    await world.topics.publish('orders', oneOfFour(n));
    await turns(3);
  }
  world.all.forEach(({ gzip, plain }) => expect(gzip.text).toBe(plain.text));
  await world.close();
});

it('with stream, a client from which an event is withheld decodes those after it', async () => {
  const world = new World('stream');
  await world.topics.start();
  world.join('all');
  world.join('some');
  // Fewer than bring a client that gets nothing a new cursor.
  for (const topic of [...Array<string>(9).fill('orders'), 'others', 'orders', 'orders']) {
    await world.topics.publish(
      topic,
      `${topic} ${Math.sqrt(world.topics.tail.last)} `.repeat(topic === 'others' ? 67 : 20),
    );
    await turns(3);
  }
  const [all, some] = world.all as [Twins, Twins];
  expect(all.plain.bytes.length).toBeGreaterThan(some.plain.bytes.length);
  world.all.forEach(({ gzip, plain }) => expect(gzip.text).toBe(plain.text));
  await world.close();
});

it('with stream, chunks of a chat take 12% at most, and a client that lagged is in step within one tail', async () => {
  const world = new World('stream');
  await world.topics.start();
  ['orders', 'orders', 'orders'].forEach((how) => world.join(how));
  const [lagging, keeping] = world.all as [Twins, Twins];
  const publish = async (from: number, to: number) => {
    for (let n = from; n < to; n += 1) {
      await world.topics.publish('orders', chatChunk(n));
      await turns(3);
    }
  };
  await publish(0, 100);
  expect(keeping.gzip.bytes.length / keeping.plain.bytes.length).toBeLessThan(0.12);

  lagging.each((_, response) => (response.reads = false));
  await publish(100, 105);
  await world.settle();
  await publish(105, 105 + Math.ceil(TAIL_BYTES / 300));
  const [before, beforeOther] = [lagging, keeping].map(({ gzip }) => gzip.bytes.length) as [number, number];
  await publish(200, 220);
  expect(lagging.gzip.bytes.length - before).toBe(keeping.gzip.bytes.length - beforeOther);
  world.all.forEach(({ gzip, plain }) => expect(gzip.text).toBe(plain.text));
  await world.close();
  expect(world.registry.sharedStreams.size).toBe(0);
});

it('with stream, what one client is sent while the others are written to does not come before the event', async () => {
  let sendTo: EventStreamResponse | undefined;
  const authorize = (_topic: string, connection: SseConnection) => {
    // Asked for the second client, when the event is prepared for the first and written to neither.
    if (sendTo && connection !== sendTo.forApp) {
      sendTo.send('aside '.repeat(100));
      sendTo = undefined;
    }
    return true;
  };
  const topics = new Topics(memory()(), { ...TOPIC_SETTINGS, authorize }, SILENT);
  await topics.start();
  const registry = createRegistry({ following: topics });
  const connections: EventStreamResponse[] = [];
  const server = await StreamServer.listen((_req, res) => {
    const settings = { ...CONNECTION_SETTINGS, compression: 'stream' as const };
    const connection = registry.admit({ platform: toPlatform(res), settings, finite: false });
    connection.follow('orders', {});
    connection.commit();
    connections.push(connection);
  });
  closeServer = async () => {
    await server.close();
    await topics.close();
  };
  const options = { headers: { 'accept-encoding': 'gzip' }, timeoutMs: 25_000 };
  const streams = [await server.open(options), await server.open(options)];
  await Promise.all(streams.map((stream) => stream.next()));
  for (const n of [0, 1, 2, 3]) {
    sendTo = n === 2 ? connections[0] : undefined;
    await topics.publish('orders', chatChunk(n));
    await Promise.all(streams.map((stream) => stream.until(({ events }) => events.length > n + 1)));
  }
  const chunks = [0, 1, 2, 3].map((n) => JSON.stringify(chatChunk(n)));
  await streams[0]!.until(({ events }) => events.length === 6);
  expect(streams[0]!.events.map(({ data }) => data)).toEqual([
    '{}',
    ...chunks.slice(0, 3),
    'aside '.repeat(100),
    chunks[3],
  ]);
  expect(streams[1]!.events.map(({ data }) => data)).toEqual(['{}', ...chunks]);
  expect(registry.writeCounts.direct).toBeGreaterThan(0);
  await server.close();
  await waitFor(() => registry.size === 0, { timeoutMs: 25_000 });
});

it('with stream, warns of a filter, and not of a client that has left what it shared', async () => {
  const warned: string[] = [];
  const warn = (message: string) => void warned.push(message);
  const topics = new Topics(memory()(), TOPIC_SETTINGS, SILENT);
  await topics.start();
  const registry = createRegistry({ following: topics, reporter: { ...SILENT, warn } });
  const follow = async (
    options: FollowOptions,
    act: (connection: EventStreamResponse, follow: Follow) => void,
  ) => {
    const twins = new Twins(registry, 'stream');
    twins.each((connection) => {
      const followed = connection.follow('orders', options);
      connection.commit();
      act(connection, followed);
    });
    await turns(3);
    twins.each((_, response) => response.destroy());
  };
  await follow({}, (connection, followed) => {
    connection.send('aside');
    followed.unfollow();
  });
  expect(warned).toEqual([]);
  await follow({ filter: () => true }, () => undefined);
  expect(warned).toEqual([expect.stringContaining("has compression: 'stream'")]);
  await topics.close();
});
