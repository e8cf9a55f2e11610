import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals';
import type { EventLogFactory, RunEnd, SseModuleOptions, SseRunOptions } from 'nestjs-event-stream';
import { nats } from 'nestjs-event-stream/nats';
import { postgres } from 'nestjs-event-stream/postgres';
import { redis } from 'nestjs-event-stream/redis';
import { waitFor } from 'nestjs-event-stream/testing';
import type { SseTestStream } from 'nestjs-event-stream/testing';
import { RunAudience } from '../../lib/runs/producer/audience.js';
import { createRunsApp } from '../e2e/runs/runs-app.js';
import type { RunsApp } from '../e2e/runs/runs-app.js';
import { FaultProxy } from '../support/faults/fault-proxy.js';
import { closeAll, open, platforms } from '../support/apps/platforms.js';
import { startNats } from '../support/servers/nats-server.js';
import { postgresUrl, startPostgres } from '../support/servers/postgres-server.js';
import { startRedis } from '../support/servers/redis-server.js';
import type { RedisServer } from '../support/servers/redis-server.js';

const LEASE_MS = 900;
const untilOver = (stream: SseTestStream) => stream.until(({ ending }) => ending !== undefined);
const dataOf = ({ events }: SseTestStream) => events.map(({ data }) => data);

interface Engine {
  readonly port: number;
  /** Returns the leases of the runs that are produced, by their names. */
  leases(log: string): Promise<string[]>;
  stop(): Promise<void>;
}

/** The engines, each with the function that makes a log on it through a port. */
const ENGINES: [
  name: string,
  start: () => Promise<Engine>,
  log: (port: number, log: string) => EventLogFactory,
][] = [
  [
    'Redis',
    async () => {
      const server = await startRedis();
      return {
        port: server.port,
        leases: async (log) => {
          const keys = (await server.command('KEYS', `*${log}}:lease:*`)) as string[];
          return keys.filter((key) => !key.includes('sweep'));
        },
        stop: () => server.stop(),
      };
    },
    (port, log) => redis({ url: `redis://127.0.0.1:${port}`, log, publishTimeoutMs: 2_000 }),
  ],
  [
    'NATS',
    async () => {
      const server = await startNats();
      return { port: server.port, leases: async () => [], stop: () => server.stop() };
    },
    (port, log) => nats({ servers: `nats://127.0.0.1:${port}`, log, publishTimeoutMs: 2_000 }),
  ],
  [
    'PostgreSQL',
    async () => {
      const server = await startPostgres();
      const held = 'select name from sse.leases where log = $1 and expires_at > clock_timestamp()';
      return {
        port: server.port,
        leases: async (log) => (await server.query(held, [log])).map(({ name }) => String(name)),
        stop: () => server.stop(),
      };
    },
    (port, log) => postgres({ url: postgresUrl(port), log, publishTimeoutMs: 2_000 }),
  ],
];

describe.each(ENGINES)('runs on several instances with one %s', (name, start, logOn) => {
  const [platform] = platforms;
  let server: Engine;
  let log: string;
  const proxies: FaultProxy[] = [];

  beforeAll(async () => {
    server = await start();
  });
  afterAll(() => server.stop());
  beforeEach(() => {
    log = `log-${Math.random().toString(36).slice(2)}`;
  });
  afterEach(async () => {
    await closeAll();
    await Promise.all(proxies.splice(0).map((proxy) => proxy.stop()));
  });

  const instance = (options: SseRunOptions = {}, module: SseModuleOptions = {}, port = server.port) =>
    createRunsApp(platform!, options, {
      log: logOn(port, log),
      runs: { leaseMs: LEASE_MS },
      ...module,
    });
  /** Starts an instance that a test can cut off from its engine. */
  const instanceBehindProxy = async (options: SseRunOptions = {}, module: SseModuleOptions = {}) => {
    const proxy = await FaultProxy.start(server.port);
    proxies.push(proxy);
    return { ...(await instance(options, module, proxy.port)), proxy };
  };
  const leases = () => server.leases(log);
  const post = async ({ app, source }: RunsApp, ...items: unknown[]) => {
    source('a').push(...items);
    const stream = await open(app, '/runs/a', { method: 'POST' });
    await stream.take(items.length);
    return stream;
  };

  it('give a client that comes back to another instance all of the run, or the rest', async () => {
    const [one, other] = [await instance({ format: 'json' }), await instance({ format: 'json' })];
    const first = await post(one, 1, 2, 3);
    await first.close();

    const full = await open(other.app, '/runs/a');
    const rest = await open(other.app, '/runs/a', { lastEventId: first.events[1]!.id });
    await full.take(3);
    one.source('a').push(4).end();
    await Promise.all([full, rest].map(untilOver));

    expect(dataOf(full)).toEqual(['1', '2', '3', '4', 'null']);
    expect(dataOf(rest)).toEqual(['3', '4', 'null']);
    const later = await open(other.app, '/runs/a');
    await untilOver(later);
    expect(later.raw).toBe(full.raw);
    await waitFor(async () => (await leases()).length === 0);
    await one.nothingLeft();
    await other.nothingLeft();
  });

  it('produce a run once, whichever instance it is asked for', async () => {
    const [one, other] = [await instance(), await instance()];
    const opening = [one, other, one, other].map(({ app }) => open(app, '/runs/a', { method: 'POST' }));
    await waitFor(() => one.source('a').starts + other.source('a').starts === 1);
    one.source('a').push('x');
    other.source('a').push('x');
    const streams = await Promise.all(opening);
    await Promise.all(streams.map((stream) => stream.next()));
    one.source('a').end();
    other.source('a').end();
    await Promise.all(streams.map(untilOver));

    expect(streams.map(dataOf)).toEqual([['x'], ['x'], ['x'], ['x']]);
    expect(one.source('a').starts + other.source('a').starts).toBe(1);
  });

  it('stop one that another instance produces', async () => {
    const [one, other] = [await instance({ format: 'ai-sdk' }), await instance()];
    const stream = await post(one, { type: 'start' });

    expect(await other.sse.runs.stop('a')).toBe(true);
    await untilOver(stream);
    expect(one.source('a').isAborted).toBe(true);
    expect(dataOf(stream).slice(-2)).toEqual(['{"type":"abort"}', '[DONE]']);
    await waitFor(async () => (await other.sse.runs.status('a'))?.state === 'ended');
    expect(await other.sse.runs.stop('a')).toBe(false);
  });

  // On PostgreSQL a notice is a record, as on Redis: one pace is enough.
  it.each(name === 'PostgreSQL' ? [5] : [2, 5, 20])(
    'stop one from a distant instance while its source gives an item every %i ms, each time',
    async (everyMs) => {
      // Long enough that no lease runs out on a busy machine.
      const module = { runs: { leaseMs: 10_000 } };
      const [one, other] = [await instance({}, module), await instanceBehindProxy({}, module)];
      // What the instance has read is old by the time it appends.
      other.proxy.delayMs = 15;
      for (let round = 1; round <= 20; round += 1) {
        const id = `run-${round}`;
        const source = one.source(id);
        await one.sse.runs.start(id, source.source);
        const making = setInterval(() => source.push('x'), everyMs);
        try {
          await waitFor(() => source.taken > 2);
          expect(await other.sse.runs.stop(id)).toBe(true);
          // stop() waits for the end for a second at most.
          expect([round, source.isAborted]).toEqual([round, true]);
        } finally {
          clearInterval(making);
        }
      }
    },
    60_000,
  );

  it('keep one whose clients are elsewhere, and end it when these have left', async () => {
    const [one, other] = [
      await instance({ onDisconnect: 'abort' }),
      await instance({ onDisconnect: 'abort' }),
    ];
    const adding = jest.spyOn(RunAudience.prototype, 'addInstance');
    const first = await post(one, 1);
    const second = await open(other.app, '/runs/a');
    await second.next();
    await waitFor(() => adding.mock.calls.length > 0, { timeoutMs: 10_000 });
    adding.mockRestore();
    await first.close();
    one.source('a').push(3);
    await second.next();
    expect(one.source('a').isAborted).toBe(false);

    await second.close();
    await one.source('a').untilAborted();
    await waitFor(async () => (await other.sse.runs.status('a'))?.reason === 'client');
    await one.nothingLeft();
    await other.nothingLeft();
  });

  it('end one whose process is gone with the error of its format, and tell the listeners', async () => {
    const one = await instanceBehindProxy({ format: 'openai' });
    const other = await instance({ format: 'openai' });
    const ends: (RunEnd & { saved: unknown[] })[] = [];
    other.sse.runs.onEnd(async (end) => ends.push({ ...end, saved: await end.items() }));
    await post(one, { n: 1 }, { n: 2 });
    const stream = await open(other.app, '/runs/a');
    await stream.take(2);

    // For all other instances, this one is gone.
    one.proxy.blackHole('both');
    await untilOver(stream);
    expect(dataOf(stream).slice(0, 2)).toEqual(['{"n":1}', '{"n":2}']);
    expect(JSON.parse(dataOf(stream)[2]!)).toMatchObject({ error: { message: 'Internal server error' } });
    await waitFor(() => ends.length === 1);
    expect(ends[0]).toMatchObject({ id: 'a', reason: 'error', events: 2, saved: [{ n: 1 }, { n: 2 }] });
    // Its items are not recorded from here on.
    await one.source('a').untilAborted();
    expect(await other.sse.runs.status('a')).toMatchObject({ state: 'ended', key: ends[0]!.key });
    await waitFor(async () => (await leases()).length === 0);
  });

  it('end one whose process is gone while no client is attached, and tell the listeners', async () => {
    const one = await instanceBehindProxy();
    const other = await instance();
    const ends: (RunEnd & { saved: unknown[] })[] = [];
    one.sse.runs.onEnd(() => undefined);
    other.sse.runs.onEnd(async (end) => ends.push({ ...end, saved: await end.items() }));
    one.source('a').push('x');
    await one.sse.runs.start('a', one.source('a').source, { owner: 'ada' });
    await waitFor(async () => (await other.sse.runs.status('a', { owner: 'ada' }))?.state === 'live');
    await waitFor(() => one.source('a').taken === 1);
    // Waits until the engine has the item.
    const watching = await open(other.app, '/runs/a?owner=ada');
    await watching.next();
    await watching.close();

    one.proxy.blackHole('both');
    await waitFor(() => ends.length > 0, { timeoutMs: 10_000 });
    expect(ends[0]).toMatchObject({ id: 'a', owner: 'ada', reason: 'error', events: 1, saved: ['x'] });
    await waitFor(async () => (await leases()).length === 0);
  });

  it('start one anew if its process is gone, and no client was attached', async () => {
    const one = await instanceBehindProxy();
    const other = await instance({ format: 'json' });
    const ends: RunEnd[] = [];
    other.sse.runs.onEnd((end) => ends.push(end));
    await one.sse.runs.start('a', one.source('a').source, { format: 'json' });
    one.source('a').push('old');
    await waitFor(() => one.source('a').taken === 1);
    one.proxy.blackHole('both');
    other.source('a').push('new');
    const start = () => other.sse.runs.start('a', other.source('a').source, { format: 'json' });
    await waitFor(async () => (await start()).started, { timeoutMs: 10_000 });

    const stream = await open(other.app, '/runs/a');
    await stream.next();
    other.source('a').end();
    await untilOver(stream);
    expect(dataOf(stream)).toEqual(['"new"', 'null']);
    await waitFor(() => ends.length === 2);
    expect(ends).toMatchObject([{ reason: 'error' }, { reason: 'done' }]);
  });

  it('go on with one that an instance has handed over, in the same answer', async () => {
    const options: SseRunOptions = { format: 'json', onShutdown: 'hand-over' };
    const [one, other] = [await instance(options), await instance(options)];
    const ends: string[] = [];
    other.sse.runs.onEnd(({ reason }) => ends.push(reason));
    other.sse.runs.onHandOver(({ id }) => other.sse.runs.start(id, other.source(id).source, options));
    const first = await post(one, 1, 2);
    const second = await open(other.app, '/runs/a');
    await second.take(2);

    await one.app.close();
    await untilOver(first);
    expect(first.ending).toBe('aborted');
    await waitFor(() => other.source('a').starts === 1);
    expect(other.source('a').recorded).toEqual([1, 2]);
    other.source('a').push(3).end();
    await untilOver(second);
    expect(dataOf(second)).toEqual(['1', '2', '3', 'null']);
    const back = await open(other.app, '/runs/a', { lastEventId: first.lastEventId });
    await untilOver(back);
    expect(dataOf(back)).toEqual(['3', 'null']);
    await waitFor(() => ends.length === 1);
    expect(ends).toEqual(['done']);
  });

  it('end one that was handed over, if no instance takes it over', async () => {
    const options: SseRunOptions = { format: 'json', onShutdown: 'hand-over' };
    const [one, other] = [await instance(options), await instance(options)];
    await post(one, 1);
    const stream = await open(other.app, '/runs/a');
    await stream.next();
    await one.app.close();
    await untilOver(stream);
    expect(stream.events.at(-1)?.type).toBe('error');
    expect(await other.sse.runs.status('a')).toMatchObject({ reason: 'shutdown' });
  });
});

describe('runs on Redis', () => {
  let server: RedisServer;

  beforeEach(async () => {
    server = await startRedis();
  });
  afterEach(async () => {
    await closeAll();
    await server.stop();
  });

  it('share a call to Redis for the items of ten milliseconds, and resume with one call', async () => {
    const log = () => redis({ url: server.url });
    const [one, other] = [
      await createRunsApp(platforms[0]!, { format: 'json' }, { log: log() }),
      await createRunsApp(platforms[0]!, {}, { log: log() }),
    ];
    const scripts = async () => {
      const stats = await server.info('commandstats');
      return Number(/calls=(\d+)/.exec(stats['cmdstat_evalsha'] ?? '')?.[1] ?? 0);
    };
    one.source('a').push(0);
    const stream = await open(one.app, '/runs/a', { method: 'POST' });
    await stream.next();
    const before = await scripts();
    one.source('a').push(...Array.from({ length: 400 }, (_, n) => n));
    await stream.take(400);
    expect((await scripts()) - before).toBeLessThan(40);
    one.source('a').end();
    await untilOver(stream);
    await waitFor(async () => ((await server.command('KEYS', '*:lease:*')) as string[]).length === 0);

    const atRest = await scripts();
    for (let times = 0; times < 20; times += 1) {
      const resumed = await open(other.app, '/runs/a');
      await untilOver(resumed);
      expect(resumed.events).toHaveLength(402);
    }
    // One call for each, and the regular calls of the readers of both instances.
    expect((await scripts()) - atRest).toBeLessThan(35);
  });
});
