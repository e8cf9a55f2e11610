import { afterEach, describe, expect, it } from '@jest/globals';
import { redis } from 'nestjs-event-stream/redis';
import { waitFor } from 'nestjs-event-stream/testing';
import { createTopicsApp } from '../e2e/topics/topics-app.js';
import { createRunsApp } from '../e2e/runs/runs-app.js';
import { stopServers } from '../support/servers/local-server.js';
import { closeAll, open, platforms } from '../support/apps/platforms.js';
import { Random } from '../support/random.js';
import {
  expectGenuine,
  FRAMES,
  lastNumber,
  MAX_EVENT_BYTES,
  numberOf,
  ROUNDS,
  silentLosses,
  watchedBy,
} from './foreign-streams.js';
import { EVENTS, META } from '../support/servers/redis-keys.js';
import { startRedis } from '../support/servers/redis-server.js';
import type { RedisCommand, RedisServer, RedisServerOptions } from '../support/servers/redis-server.js';

const DEADLINE = { timeoutMs: 30_000 };
// Each instance reads once for what comes, and rests where it is none of the log's.
const MOST_READS_A_SECOND = 200;
const platform = platforms[0]!;

afterEach(async () => {
  await closeAll();
  await stopServers();
});

/** The head of a log, as numbers. */
const headOf = async (server: RedisServer, meta: string) =>
  ((await server.command('HMGET', meta, 'sequence', 'nonce')) as string[]).map(Number) as [number, number];

const TEXTS = [
  'id: 9-9-9\n\nevent: evil\ndata: forged\n\n',
  '\r\r\nevent: evil\r\rdata: x',
  '{"n":',
  'x'.repeat(MAX_EVENT_BYTES * 2),
  '',
  'null',
  '\u001b[2J',
];

/** What another program may write where events are: some of it looks like ours, and stands in the line. */
async function writeForeign(
  server: RedisServer,
  random: Random,
  [events, meta]: [string, string],
): Promise<void> {
  const [sequence, nonce] = await headOf(server, meta).catch(() => [0, 0]);
  const id = random.pick([
    '*',
    `${sequence + 1}-5`,
    `${sequence + 1}-4294967295`,
    `${sequence + 7}-1`,
    `${sequence}-4294967295`,
  ]);
  const fields = ['c', random.pick(['1', 'NaN', '-5', '']), 'p', random.pick([`${nonce}`, '7', 'x'])];
  const rest = [
    't',
    random.pick(['a', 'a b', '', '*', 'x'.repeat(300), '\n']),
    'y',
    random.pick(['', 'evil\ndata: x', '\r']),
  ];
  const forged = [...fields, ...rest, 'd', random.pick(TEXTS), 'j', random.pick(['1', '0', 'x'])];
  const garbage = random.pick([
    ['a', 'b'],
    ['c', '1'],
    forged.slice(0, 6),
    [random.pick(TEXTS), random.pick(TEXTS)],
  ]);
  const add: RedisCommand = ['XADD', events, id, ...(random.next() < 0.6 ? forged : garbage)];
  // An id that is too low is refused, and the hash may follow the forgery.
  await server.command(...add).catch(() => undefined);
  if (random.next() < 0.05 && id !== '*') {
    const [place, mark] = id.split('-') as [string, string];
    await server.command('HSET', meta, 'sequence', place, 'nonce', mark).catch(() => undefined);
  }
}

const DAMAGES: readonly RedisCommand[][] = [
  [
    ['DEL', EVENTS],
    ['SET', EVENTS, 'text'],
  ],
  [
    ['DEL', META],
    ['SET', META, 'text'],
  ],
  [
    ['DEL', META],
    ['LPUSH', META, 'a'],
  ],
  [['HSET', META, 'sequence', 'abc']],
  [['HSET', META, 'nonce', '-1']],
  [['HSET', META, 'epoch', 'E\n']],
  [['HSET', META, 'former', 'x '.repeat(1_000)]],
  [['HDEL', META, 'sequence']],
  [
    ['DEL', EVENTS],
    ['SADD', EVENTS, 'a'],
  ],
];

const isReset = ({ type }: { type: string }) => type === 'reset';

async function readsOf(server: RedisServer): Promise<number> {
  const stats = await server.info('commandstats');
  return Number(/calls=(\d+)/.exec(stats['cmdstat_xread'] ?? '')?.[1] ?? 0);
}

/** Redis up to 7.0 takes an id that is lower than one that was deleted; Redis 7.2 and later, and Valkey, never do. */
const SERVERS: [name: string, options: RedisServerOptions][] = [
  ['Redis', {}],
  ['a Redis that lowers no id', { arguments: ['--rename-command', 'XSETID', ''] }],
];

describe.each(SERVERS)('what other programs write where %s keeps the events', (_name, options) => {
  const instance = (server: RedisServer) =>
    createTopicsApp(platform, {
      log: redis({ url: server.url }),
      maxEventBytes: MAX_EVENT_BYTES,
      ringEvents: 50,
    });

  it.each([1, 2, 3])(
    'crashes nothing, forges nothing, and costs no client an event in silence: seed %i',
    async (seed) => {
      const random = new Random(seed);
      const server = await startRedis(options);
      const [one, other] = [await instance(server), await instance(server)];
      const watched = watchedBy(other);
      const streams = [await open(one.app, 'connect'), await open(other.app, 'connect')];
      await Promise.all(streams.map((stream) => stream.next()));
      const resumed = [await open(one.app, 'connect')];
      await resumed[0]!.next();
      const begin = performance.now();
      const before = await readsOf(server);
      for (let n = 1; n <= ROUNDS; n += 1) {
        for (let times = random.between(0, 3); times > 0; times -= 1) {
          await writeForeign(server, random, [EVENTS, META]);
        }
        await one.sse.publish('a', { data: { n } });
        if (n % 30 === 0) {
          for (const command of random.pick(DAMAGES)) {
            // Between two commands an instance may have made the key anew: then there is nothing to damage.
            await server.command(...command).catch(() => undefined);
          }
          const { lastEventId } = resumed.at(-1)!;
          await resumed.at(-1)!.close();
          resumed.push(await open(other.app, 'connect', { lastEventId: lastEventId ?? '' }));
        }
      }
      // A flood of what is no event.
      for (let times = 0; times < 500; times += 1) {
        await server.command('XADD', EVENTS, '*', 'a', 'b').catch(() => undefined);
      }
      const all = [...streams, resumed.at(-1)!];
      const publishLast = async () => {
        await one.sse.publish('a', { data: { n: ROUNDS + 1 } });
        return watched.includes(ROUNDS + 1) && all.every((stream) => lastNumber(stream) === ROUNDS + 1);
      };
      await waitFor(publishLast, DEADLINE);
      const seconds = (performance.now() - begin) / 1_000;
      expect(((await readsOf(server)) - before) / seconds / 2).toBeLessThan(MOST_READS_A_SECOND);
      expectGenuine([...streams, ...resumed]);
      await waitFor(() => one.sse.health.state === 'ready' && other.sse.health.state === 'ready', DEADLINE);
      // One that starts now has the log as it is.
      const late = await instance(server);
      const stream = await open(late.app, 'connect');
      await stream.next();
      await late.sse.publish('a', { data: { n: ROUNDS + 2 } });
      await Promise.all(
        [stream, ...all].map((each) => each.until(() => lastNumber(each) === ROUNDS + 2, DEADLINE)),
      );
    },
    90_000,
  );

  it('leaves out an entry that stands in the line and would forge a frame', async () => {
    const server = await startRedis(options);
    const context = await instance(server);
    const stream = await open(context.app, 'connect');
    await stream.next();
    await context.sse.publish('a', { data: { n: 1 } });
    const [sequence, nonce] = await headOf(server, META);
    const forged = [
      'c',
      `${Date.now()}`,
      'p',
      `${nonce}`,
      't',
      'a',
      'y',
      'evil\ndata: x',
      'd',
      '{}',
      'j',
      '1',
    ];
    await server.command('XADD', EVENTS, `${sequence + 1}-7`, ...forged);
    await server.command('HSET', META, 'sequence', `${sequence + 1}`, 'nonce', '7');
    await context.sse.publish('a', { data: { n: 2 } });
    await stream.until(() => lastNumber(stream) === 2, DEADLINE);
    expect(stream.events.filter(({ type }) => !FRAMES.test(type))).toEqual([]);
  });

  it('has the next event stand after the last, also when what was higher is gone already', async () => {
    const server = await startRedis(options);
    const context = await instance(server);
    const stream = await open(context.app, 'connect');
    await stream.next();
    for (let n = 1; n <= 3_000; n += 1) {
      await context.sse.publish('a', { data: { n } });
    }
    await stream.until(() => lastNumber(stream) === 3_000, DEADLINE);
    const id = (await server.command('XADD', EVENTS, '*', 'a', 'b')) as string;
    await server.command('XDEL', EVENTS, id);
    await context.sse.publish('a', { data: { n: 3_001 } });
    await stream.until(() => lastNumber(stream) === 3_001, DEADLINE);
    expect(stream.events.filter(({ type }) => type === 'reset')).toEqual([]);
    expect(silentLosses(stream)).toEqual([]);
    // One that comes back is told what is trimmed, and what is kept it gets.
    const back = async (n: number) => {
      const lastEventId = stream.events.find(({ data }) => numberOf(data) === n)!.id!;
      const resumed = await open((await instance(server)).app, 'connect', { lastEventId });
      await resumed.until(() => lastNumber(resumed) === 3_001 || resumed.events.some(isReset), DEADLINE);
      return resumed.events.some(isReset) ? 'reset' : resumed.events.length;
    };
    expect(await back(2_500)).toBe(501);
    const isMadeAnew = Number(await server.command('XLEN', EVENTS)) < 3_000;
    if (options.arguments) {
      expect(isMadeAnew).toBe(true);
    }
    expect(await back(500)).toBe(isMadeAnew ? 'reset' : 2_501);
  });

  it('does not hold up what is ours where it comes without end', async () => {
    const server = await startRedis(options);
    const context = await instance(server);
    const stream = await open(context.app, 'connect');
    await stream.next();
    const before = await readsOf(server);
    const begin = performance.now();
    for (let n = 1; n <= 100; n += 1) {
      await Promise.all(
        Array.from({ length: 10 }, () =>
          server.command('XADD', EVENTS, '*', 'a', 'b').catch(() => undefined),
        ),
      );
      await context.sse.publish('a', { data: { n } });
    }
    await stream.until(() => lastNumber(stream) === 100, DEADLINE);
    const seconds = (performance.now() - begin) / 1_000;
    expect(((await readsOf(server)) - before) / seconds).toBeLessThan(60);
    expect(stream.events.filter(({ type }) => type === 'reset')).toEqual([]);
    expect(silentLosses(stream)).toEqual([]);
  });
});

describe('a stream that Redis does not go on with', () => {
  type Entry = [id: string, fields: string[]];

  it.each([
    ['number', { appended: 3_000, bytes: 10, kept: 2_000 }],
    ['size', { appended: 12, bytes: 900_000, kept: 4 }],
  ])(
    'is made anew with its newest events, as they were, up to a %s',
    async (_of, { appended, bytes, kept }) => {
      const server = await startRedis(SERVERS[1]![1]);
      const store = redis({ url: server.url })();
      const record = { topic: 'a', data: 'x'.repeat(bytes), isJson: false };
      const entries = async () => (await server.command('XREVRANGE', EVENTS, '+', '-')) as Entry[];
      const meta = async () => (await server.command('HMGET', META, 'epoch', 'former')) as string[];
      try {
        const { epoch } = await store.log.append(Array.from({ length: appended }, () => record));
        await server.command('PEXPIRE', EVENTS, 3_600_000);
        const [before, last, named] = [await entries(), await headOf(server, META), await meta()];
        const id = (await server.command('XADD', EVENTS, '*', 'a', 'b')) as string;
        await server.command('XDEL', EVENTS, id);

        const next = await store.log.append([record]);

        const [newest, ...others] = await entries();
        const place = [appended + 1, Number.parseInt(next.records[0]!.nonce, 16)];
        expect([next.epoch, await headOf(server, META), await meta()]).toEqual([epoch, place, named]);
        expect([newest![0], newest![1].slice(2, 4)]).toEqual([place.join('-'), ['p', `${last[1]}`]]);
        expect(others).toEqual(before.slice(0, kept));
        expect(await server.command('PTTL', EVENTS)).toBeGreaterThan(3_000_000);
        expect(await server.command('EXISTS', `${EVENTS}:%anew`)).toBe(0);
      } finally {
        await store.close();
      }
    },
  );
});

describe.each(SERVERS)('what other programs write where %s keeps runs', (_name, options) => {
  it.each([1, 2, 3])(
    'ends no run, or says so; the next one is made: seed %i',
    async (seed) => {
      const random = new Random(seed);
      const server = await startRedis(options);
      const instance = () =>
        createRunsApp(
          platform,
          { format: 'json' },
          { log: redis({ url: server.url, publishTimeoutMs: 2_000 }), runs: { leaseMs: 3_000 } },
        );
      const [one, other] = [await instance(), await instance()];
      for (let round = 1; round <= 5; round += 1) {
        const id = `run-${round}`;
        await one.sse.runs.start(id, one.source(id).source, { format: 'json' });
        const opening = [open(one.app, `/runs/${id}`), open(other.app, `/runs/${id}`)];
        for (let n = 1; n <= 20; n += 1) {
          one.source(id).push(n);
          const keys = (await server.command('KEYS', `*:events:*`)) as string[];
          if (keys.length > 0 && random.next() < 0.5) {
            const events = random.pick(keys);
            await writeForeign(server, random, [events, events.replace(':events:', ':meta:')]);
          }
          await waitFor(() => one.source(id).taken >= n || one.source(id).isAborted, DEADLINE);
        }
        one.source(id).end();
        for (const each of await Promise.all(opening)) {
          await each.until(({ ending }) => ending !== undefined, DEADLINE);
          const values = each.events.flatMap(({ type, data }) => (type === 'error' ? [] : [data]));
          const items = values.filter((value) => value !== 'null').map(Number);
          expect(items).toEqual(items.map((_item, index) => index + 1));
          const isWhole = items.length === 20 && values.at(-1) === 'null';
          const isError =
            each.events.at(-1)?.type === 'error' || each.ending === 'aborted' || each.events.length === 0;
          expect([round, values, isWhole || isError]).toEqual([round, values, true]);
        }
      }
      // Of another kind than ours, and under a name that nobody has had.
      for (const [id, key] of [
        ['run-1', 'lease'],
        ['fresh', 'meta'],
        ['fresher', 'events'],
      ] as const) {
        const name = `{sse:topics}:${key}:${encodeURIComponent(`run:${id}`)}`;
        await server.command('DEL', name);
        await server.command('LPUSH', name, 'x');
        await waitFor(
          async () =>
            (
              await other.sse.runs.start(id, other.source(`${id}!`).push('x').end().source, {
                format: 'json',
              })
            ).started,
          DEADLINE,
        );
        const stream = await open(one.app, `/runs/${id}`);
        await stream.until(({ ending }) => ending !== undefined, DEADLINE);
        expect(stream.events.map(({ data }) => data)).toEqual(['"x"', 'null']);
      }
    },
    90_000,
  );
});
