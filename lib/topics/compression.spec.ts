import { expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import {
  CONNECTION_SETTINGS,
  createRegistry,
  TOPIC_SETTINGS,
} from '../../test/support/apps/stream-server.js';
import { platformOf, ScriptedResponse, turns } from '../../test/support/clients/twin-responses.js';
import type { Compression, ConnectionRegistry, EventStreamResponse } from '../connection/index.js';
import { beat } from '../connection/heartbeat.js';
import { memory } from '../engines/memory/index.js';
import { Topics } from './topics.js';

const SILENT = { warn: () => undefined, error: () => undefined, debug: () => undefined };
const HEARTBEAT_MS = 10_000;
// So small that a client which lags reads pages of the log, and resumes may come too late.
const LOG = { maxEvents: 40 };
const RING_EVENTS = 8;
const WORDS = ['total', 'paid', 'ready', '订单', 'é', '\n', '{"a":1}'];

/** A client twice: one takes gzip, the other does not. Both are done the same to. */
class Twins {
  readonly responses: readonly ScriptedResponse[];
  readonly connections: readonly EventStreamResponse[];

  constructor(registry: ConnectionRegistry, compression: Compression, lastEventId: string | undefined) {
    const headers = lastEventId === undefined ? {} : { 'last-event-id': lastEventId };
    const accepted = [{ 'accept-encoding': 'gzip' }, {}];
    this.responses = accepted.map((accepts) => new ScriptedResponse({ ...headers, ...accepts }));
    this.connections = this.responses.map((response) =>
      registry.admit({
        platform: platformOf(response),
        settings: { ...CONNECTION_SETTINGS, heartbeatMs: false, compression },
        finite: false,
      }),
    );
  }

  each(act: (connection: EventStreamResponse, response: ScriptedResponse) => void): void {
    this.connections.forEach((connection, n) => act(connection, this.responses[n]!));
  }

  get lastId(): string | undefined {
    return [...this.responses[1]!.text.matchAll(/^id: (.*)$/gm)].at(-1)?.[1];
  }
}

const client = fc.nat(7);
const text = fc.record({ word: fc.constantFrom(...WORDS), times: fc.integer({ min: 0, max: 1_500 }) });
const step = fc.oneof(
  { weight: 2, arbitrary: fc.record({ join: fc.constantFrom('orders', 'all', 'envelope', 'snapshot') }) },
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

/** An app of topics, its log, and the twins that follow. */
class World {
  readonly all: Twins[] = [];
  readonly topics: Topics;
  readonly registry: ConnectionRegistry;
  readonly #compression: Compression;
  #now = 0;

  constructor(compression: Compression) {
    this.#compression = compression;
    this.topics = new Topics(memory(LOG)(), { ...TOPIC_SETTINGS, ringEvents: RING_EVENTS }, SILENT);
    this.registry = createRegistry({ following: this.topics });
    // The clock stands still until all are silent.
    this.registry.wheel.now = () => this.#now;
  }

  join(how: string, lastEventId?: string): void {
    const twins = new Twins(this.registry, this.#compression, lastEventId);
    const snapshot = () => ({ data: 'state '.repeat(200), type: 'state' });
    twins.each((connection) => {
      connection.follow(how === 'all' ? '>' : 'orders', {
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
    for (let n = 0; n < 100 && (n < 6 || this.topics.lag().behind > 0); n += 1) {
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

it.each(['events'] as const)(
  'with %s, each client decodes byte for byte what it would have got uncompressed',
  async (compression) => {
    let compressed = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 60, size: 'max' }), async (steps) => {
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
          for (const { responses } of world.all) {
            const [gzip, plain] = responses as [ScriptedResponse, ScriptedResponse];
            expect(gzip.headers['content-encoding']).toBe('gzip');
            expect(plain.headers['content-encoding']).toBeUndefined();
            expect(gzip.text).toBe(plain.text);
            compressed += gzip.bytes.length < plain.bytes.length ? 1 : 0;
          }
        } finally {
          await world.close();
        }
      }),
      { numRuns: 40 },
    );
    expect(compressed).toBeGreaterThan(0);
  },
);
