import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect, headers } from '@nats-io/transport-node';
import type { NatsConnection } from '@nats-io/transport-node';
import { nats } from 'nestjs-event-stream/nats';
import { waitFor } from 'nestjs-event-stream/testing';
import type { SseTestStream } from 'nestjs-event-stream/testing';
import { createRunsApp } from '../e2e/runs/runs-app.js';
import { createTopicsApp } from '../e2e/topics/topics-app.js';
import type { TopicsApp } from '../e2e/topics/topics-app.js';
import { stopServers } from '../support/servers/local-server.js';
import { startNats } from '../support/servers/nats-server.js';
import type { NatsServer } from '../support/servers/nats-server.js';
import { closeAll, open, platforms } from '../support/apps/platforms.js';
import { Random } from '../support/random.js';
import { expectGenuine, lastNumber, MAX_EVENT_BYTES, ROUNDS, watchedBy } from './foreign-streams.js';

const DEADLINE = { timeoutMs: 30_000 };
// A look every three seconds, and some for each consumer that breaks: far from what a loop without a pause sends.
const MOST_REQUESTS_A_SECOND = 200;
// Each client that comes, and each log that is over, has a few.
const MOST_REQUESTS_A_RUN = 150;
const ROUNDS_OF_RUNS = 5;
const platform = platforms[0]!;

let server: NatsServer;
let connection: NatsConnection;
const connections: NatsConnection[] = [];

beforeEach(async () => {
  server = await startNats();
  connection = await connectTo();
});
afterEach(async () => {
  await closeAll();
  await Promise.all(connections.splice(0).map((each) => each.close()));
  await stopServers();
});

async function connectTo(): Promise<NatsConnection> {
  const opened = await connect({ servers: server.url });
  connections.push(opened);
  return opened;
}

interface Foreign {
  readonly subject: string;
  readonly payload: string | Uint8Array;
  readonly header?: readonly [name: string, value: string];
}

const publish = ({ subject, payload, header }: Foreign) => {
  const given = headers();
  if (header) {
    given.set(...header);
  }
  connection.publish(subject, payload, header ? { headers: given } : {});
};

/** What another program may write where events are. */
function foreignEvent(random: Random): Foreign {
  const nonce = random
    .between(1, 2 ** 31)
    .toString(16)
    .padStart(8, '0');
  const garbage = Uint8Array.from({ length: random.between(0, 200) }, () => random.between(0, 255));
  const topic = random.pick([
    'a',
    'a',
    'a.b',
    'x'.repeat(300),
    Array.from({ length: 20 }, () => 'deep').join('.'),
    'caf\u00e9',
    'a.%3E',
    '\u001b[2J',
  ]);
  const payload = random.pick<string | Uint8Array>([
    garbage,
    '{"n":',
    'id: 9-9-9\n\nevent: evil\ndata: forged\n\n',
    '\r\r\nevent: evil\r\rdata: x',
    'x'.repeat(MAX_EVENT_BYTES * 2),
    '',
    'null',
  ]);
  const value = random.pick([
    '',
    'x',
    `${nonce} 1 j`,
    `${nonce} NaN j`,
    `${nonce} 1 t evil%0Adata:%20forged%0A%0A`,
    `${nonce} 1 t a%0Did:%209-9-9`,
    `${nonce} 99999999999999999999 t`,
    `00000000 1 t`,
    `${nonce} 1 t %E0%A4%A`,
    `${nonce} 1 `,
  ]);
  const subject = `sse.topics.events.${topic}`;
  return random.next() < 0.3 ? { subject, payload } : { subject, payload, header: ['Sse-Event', value] };
}

describe('what other programs write where NATS keeps the events', () => {
  const instance = (of: NatsConnection): Promise<TopicsApp> =>
    createTopicsApp(platform, {
      log: nats({ connection: of }),
      maxEventBytes: MAX_EVENT_BYTES,
      ringEvents: 50,
    });

  it.each([1, 2, 3])(
    'crashes nothing, forges nothing, and costs no client an event in silence: seed %i',
    async (seed) => {
      const random = new Random(seed);
      const [firstConnection, secondConnection] = [await connectTo(), await connectTo()];
      const [one, other] = [await instance(firstConnection), await instance(secondConnection)];
      const watched = watchedBy(other);
      const streams = [await open(one.app, 'connect'), await open(other.app, 'connect')];
      await Promise.all(streams.map((stream) => stream.next()));
      const leaving = await open(one.app, 'connect');
      await leaving.next();
      const resumed: SseTestStream[] = [];
      const begin = performance.now();
      const before = firstConnection.stats().outMsgs;
      for (let n = 1; n <= ROUNDS; n += 1) {
        for (let times = random.between(0, 3); times > 0; times -= 1) {
          publish(foreignEvent(random));
        }
        await one.sse.publish('a', { data: { n } });
        if (n % 50 === 0) {
          const { lastEventId } = resumed.at(-1) ?? leaving;
          await (resumed.at(-1) ?? leaving).close();
          resumed.push(await open(other.app, 'connect', { lastEventId: lastEventId ?? '' }));
        }
      }
      // A flood of what is no event.
      for (let times = 0; times < 500; times += 1) {
        publish({ subject: 'sse.topics.events.a', payload: 'x'.repeat(MAX_EVENT_BYTES * 2) });
      }
      await connection.flush();
      const all = [...streams, resumed.at(-1)!];
      const publishLast = async () => {
        await one.sse.publish('a', { data: { n: ROUNDS + 1 } });
        return watched.includes(ROUNDS + 1) && all.every((stream) => lastNumber(stream) === ROUNDS + 1);
      };
      await waitFor(publishLast, DEADLINE);

      const seconds = (performance.now() - begin) / 1_000;
      const requests = firstConnection.stats().outMsgs - before - 2 * ROUNDS;
      expect(requests / seconds).toBeLessThan(MOST_REQUESTS_A_SECOND);
      expectGenuine([...streams, ...resumed]);
      await waitFor(() => one.sse.health.state === 'ready' && other.sse.health.state === 'ready', DEADLINE);
      // One that starts now has the log as it is.
      const late = await instance(await connectTo());
      const stream = await open(late.app, 'connect');
      await stream.next();
      await late.sse.publish('a', { data: { n: ROUNDS + 2 } });
      await Promise.all([stream, ...all].map((each) => each.until(() => lastNumber(each) === ROUNDS + 2)));
    },
    90_000,
  );

  it('does not answer for JetStream', async () => {
    const log = nats({ connection: await connectTo(), publishTimeoutMs: 8_000 });
    const context = await createTopicsApp(platform, { log });
    for (const answer of ['no', '{}', '{"seq":1}', '[]', 'null']) {
      connection.subscribe('sse.topics.events.>', {
        callback: (_error, message) => void message.respond(answer),
      });
    }
    const manager = await jetstreamManager(connection);
    // So that nobody else answers, until the log has made it again.
    await manager.streams.delete('sse-topics');
    await context.sse.publish('a', { data: 1 });
    expect((await manager.streams.info('sse-topics')).state.messages).toBe(1);
    expect(context.sse.health.state).toBe('ready');
  });

  it('is refused at the call where the event is our own and would be past max_payload with its headers', async () => {
    const context = await createTopicsApp(platform, {
      log: nats({ connection: await connectTo(), publishTimeoutMs: 3_000 }),
      maxEventBytes: 10_000_000,
    });
    const before = performance.now();
    await expect(context.sse.publish('a', { type: 'ä'.repeat(300_000), data: 1 })).rejects.toMatchObject({
      code: 'publish-failed',
      isOutcomeKnown: true,
      message: expect.stringContaining('max_payload'),
    });
    expect(performance.now() - before).toBeLessThan(2_000);
    await context.sse.publish('a', { data: 1 });
  });
});

describe('what other programs write where NATS keeps runs', () => {
  const SUBJECTS = ['logs', 'leases', 'notices'] as const;
  const instance = async (of: NatsConnection) =>
    createRunsApp(
      platform,
      { format: 'json' },
      { log: nats({ connection: of, publishTimeoutMs: 2_000 }), runs: { leaseMs: 3_000 } },
    );

  /** On the subjects that are there: whatever they are named. */
  const foreignTo = (subject: string, random: Random): Foreign => {
    const header = /\.logs\./.test(subject)
      ? 'Sse-Log'
      : /\.leases\./.test(subject)
        ? 'Sse-Lease'
        : 'Sse-Notice';
    const value = random.pick([
      '',
      'x',
      'a 1 00000001 NaN 1 1 open 0',
      'a -1 00000001 1 1 1 open 0',
      'a 1 00000001 1 1 1 open 99999999',
      'someone NaN NaN held',
      'someone -5 1 held',
      '%E0%A4%A',
    ]);
    const payload = random.pick<string | Uint8Array>([
      '',
      'x',
      '9 a 00000001 1 j\nshort',
      '1 %E0%A4%A 00000001 1 j\n1',
      'NaN a 00000001 1 j\n1',
      Uint8Array.from({ length: 100 }, () => random.between(0, 255)),
    ]);
    return random.next() < 0.3 ? { subject, payload } : { subject, payload, header: [header, value] };
  };

  it.each([1, 2, 3])(
    'ends no run, or says so; the next one is made: seed %i',
    async (seed) => {
      const random = new Random(seed);
      const made = new Map<string, string>();
      connection.subscribe('sse.topics.>', {
        callback: (_error, { subject }) => {
          const kind = SUBJECTS.find((each) => subject.startsWith(`sse.topics.${each}.`));
          if (kind) {
            made.set(subject, kind);
          }
        },
      });
      await connection.flush();
      const [oneConnection, otherConnection] = [await connectTo(), await connectTo()];
      const [one, other] = [await instance(oneConnection), await instance(otherConnection)];
      const begin = performance.now();
      const before = otherConnection.stats().outMsgs;
      for (let round = 1; round <= ROUNDS_OF_RUNS; round += 1) {
        const id = `run-${round}`;
        await one.sse.runs.start(id, one.source(id).source, { format: 'json' });
        // They are answered with the first item.
        const opening = [open(one.app, `/runs/${id}`), open(other.app, `/runs/${id}`)];
        for (let n = 1; n <= 20; n += 1) {
          one.source(id).push(n);
          for (let times = random.between(0, 2); times > 0; times -= 1) {
            publish(foreignTo(random.pick([...made.keys()]), random));
          }
          await connection.flush();
          await waitFor(() => one.source(id).taken >= n || one.source(id).isAborted, DEADLINE);
        }
        one.source(id).end();
        for (const each of await Promise.all(opening)) {
          await each.until(({ ending }) => ending !== undefined, DEADLINE);
          const values = each.events.flatMap(({ type, data }) => (type === 'error' ? [] : [data]));
          const items = values.filter((value) => value !== 'null').map(Number);
          expect(items).toEqual(items.map((_item, index) => index + 1));
          // All of it, or its end is an error's.
          const isWhole = items.length === 20 && values.at(-1) === 'null';
          const isError = each.events.at(-1)?.type === 'error' || each.ending === 'aborted';
          expect([round, values, isWhole || isError]).toEqual([round, values, true]);
        }
      }
      const seconds = (performance.now() - begin) / 1_000;
      const requests = otherConnection.stats().outMsgs - before;
      expect(requests).toBeLessThan(ROUNDS_OF_RUNS * MOST_REQUESTS_A_RUN + seconds * MOST_REQUESTS_A_SECOND);
      for (const subject of made.keys()) {
        publish({ subject, payload: 'x' });
      }
      await connection.flush();
      // Under a name that has nothing but what others wrote, and under one that had a run.
      for (const id of ['run-1', 'run-5']) {
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
      await waitFor(() => one.sse.health.state === 'ready' && other.sse.health.state === 'ready', DEADLINE);
    },
    90_000,
  );

  it('does not keep a run from being started under a name that nobody has had', async () => {
    const context = await instance(await connectTo());
    await context.sse.runs.start('first', context.source('first').end().source, { format: 'json' });
    const written: string[] = [];
    connection.subscribe('sse.topics.>', { callback: (_error, { subject }) => void written.push(subject) });
    await connection.flush();
    await context.sse.runs.start('second', context.source('second').end().source, { format: 'json' });
    const names = [...new Set(written)].filter((subject) => subject.includes('second'));
    expect(names.length).toBeGreaterThanOrEqual(2);
    for (const subject of names) {
      publish({ subject: subject.replace('second', 'third'), payload: 'x' });
    }
    await connection.flush();
    const starting = context.sse.runs.start('third', context.source('third').push(1).end().source, {
      format: 'json',
    });
    expect(await starting).toMatchObject({ started: true });
    const stream = await open(context.app, '/runs/third');
    await stream.until(({ ending }) => ending !== undefined, DEADLINE);
    expect(stream.events.map(({ data }) => data)).toEqual(['1', 'null']);
  });
});
