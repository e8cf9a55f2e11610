import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { jetstreamManager } from '@nats-io/jetstream';
import type { JetStreamManager } from '@nats-io/jetstream';
import { connect as connectToNats } from '@nats-io/transport-node';
import type { NatsConnection } from '@nats-io/transport-node';
import { Test } from '@nestjs/testing';
import { memory, SseModule, SseService } from 'nestjs-event-stream';
import { nats } from 'nestjs-event-stream/nats';
import { postgres, postgresOutbox } from 'nestjs-event-stream/postgres';
import type { PostgresOutboxOptions } from 'nestjs-event-stream/postgres';
import { waitFor } from 'nestjs-event-stream/testing';
import { Client } from 'pg';
import { subjectTokenOf } from '../../lib/engines/nats/subject.js';
import type { EventLogStore } from '../../lib/log/index.js';
import { FaultProxy } from '../support/faults/fault-proxy.js';
import { Random } from '../support/random.js';
import { startNats } from '../support/servers/nats-server.js';
import type { NatsServer } from '../support/servers/nats-server.js';
import { postgresUrl, startPostgres } from '../support/servers/postgres-server.js';
import type { PostgresServer } from '../support/servers/postgres-server.js';
import { Ear } from './contract/ear.js';
import { outboxEngines } from './outbox-engines.js';
import type { RevertibleServer } from './outbox-engines.js';

// Events that are published by an outbox in PostgreSQL, and relayed to a log on Redis or NATS.

const DEADLINE = { timeoutMs: 50_000 };
const TEST_MS = 60_000;
/** No publish is given up on a busy machine. */
const PATIENT = { publishTimeoutMs: 50_000, startTimeoutMs: 50_000 };

jest.setTimeout(TEST_MS);
const SEED = Number(process.env['OUTBOX_SEED'] ?? 1);

let database: PostgresServer;
let client: Client;

beforeAll(async () => {
  database = await startPostgres();
  client = await connect();
});
afterAll(async () => {
  await client.end();
  await database.stop();
});

async function connect(): Promise<Client> {
  const one = new Client({ connectionString: database.url });
  one.on('error', () => undefined);
  await one.connect();
  return one;
}

/** What an outbox holds, in its order. */
async function heldBy(outbox: string): Promise<unknown[]> {
  const { rows } = await client.query<{ data: string }>(
    "select data from sse.events e join sse.logs l on l.id = e.log_id where l.log = $1 and l.name = '' order by e.sequence",
    [outbox],
  );
  return rows.map(({ data }) => JSON.parse(data) as unknown);
}

/** Sets an outbox back to an older state: it keeps its first events. */
async function setBack(outbox: string, last: number): Promise<void> {
  await client.query(
    `with log as (select id from sse.logs where log = $1 and name = ''),
       lost as (delete from sse.events where log_id = (select id from log) and sequence > $2)
     update sse.logs l set sequence = e.sequence, nonce = e.nonce
     from sse.events e where l.id = (select id from log) and e.log_id = l.id and e.sequence = $2`,
    [outbox, last],
  );
}

const event = (data: unknown) => ({ topic: 'a', data: JSON.stringify(data), isJson: true });
const dataOf = (ear: Ear) => ear.heard.map(({ data }) => JSON.parse(data) as unknown);

describe.each(outboxEngines)('postgresOutbox() with a log on $name', ({ name, start, log }) => {
  const stores: EventLogStore[] = [];
  const proxies: FaultProxy[] = [];
  let engine: RevertibleServer;
  let outbox: string;
  let count = 0;
  let warnings: string[];

  beforeAll(async () => {
    engine = await start();
  });
  beforeEach(() => {
    warnings = [];
    outbox = `${name}-${(count += 1)}`;
  });
  afterEach(async () => {
    await Promise.all(stores.splice(0).map((store) => store.close()));
    await Promise.all(proxies.splice(0).map((proxy) => proxy.stop()));
  });
  afterAll(() => engine.stop());

  const open = (options: PostgresOutboxOptions = {}, port = engine.server.port): EventLogStore => {
    const store = postgresOutbox({ url: database.url, log: outbox, ...PATIENT, ...options })(
      log(port, outbox),
      { maxEventBytes: 1_048_576, warn: (message) => void warnings.push(message) },
    );
    stores.push(store);
    return store;
  };
  const proxyTo = async (port: number) => {
    const proxy = await FaultProxy.start(port);
    proxies.push(proxy);
    return proxy;
  };
  const follow = async (store: EventLogStore) => {
    const ear = new Ear();
    await store.log.follow(ear);
    return ear;
  };
  const publishWithin = async (store: EventLogStore, data: unknown, end: 'commit' | 'rollback') => {
    await client.query('begin');
    await store.appendWithin!(client, [event(data)]);
    await client.query(end);
  };

  it('relays what is committed, not what is rolled back, and direct publishes in one order with it', async () => {
    const [one, other] = [open(), open()];
    const ears = [await follow(one), await follow(other)];
    const { sequence } = await one.log.head();
    await publishWithin(one, 'committed', 'commit');
    await publishWithin(one, 'rolled back', 'rollback');
    const { epoch, records } = await one.log.append([event('direct')]);
    await publishWithin(other, 'committed by another', 'commit');
    const expected = ['committed', 'direct', 'committed by another'];
    await waitFor(() => ears.every((ear) => ear.heard.length >= 3), DEADLINE);
    expect(ears.map(dataOf)).toEqual([expected, expected]);
    expect(records[0]).toMatchObject({ sequence: sequence + 2, nonce: ears[0]!.heard[1]!.nonce });
    expect((await other.log.head()).epoch).toBe(epoch);
  });

  it('relays each event once from three instances, over lost answers and a fall to an older state', async () => {
    const random = new Random(SEED);
    const proxy = await proxyTo(engine.server.port);
    const three = [open({}, proxy.port), open(), open()];
    await Promise.all(three.map(follow));
    const committed: string[] = [];
    const direct: Promise<unknown>[] = [];
    for (let n = 0; n < 60; n += 1) {
      const store = random.pick(three);
      const kind = random.pick(['commit', 'rollback', 'direct'] as const);
      if (kind === 'direct') {
        // While the log is away it rejects, with an unknown outcome: the event is in the outbox.
        direct.push(store.log.append([event(`${kind} ${n}`)]).catch(() => undefined));
      } else {
        await publishWithin(store, `${kind} ${n}`, kind);
      }
      if (kind === 'commit') {
        committed.push(`${kind} ${n}`);
      }
      if (random.next() < 0.1) {
        void proxy.swallowReply((request) => /"(?:commit|direct) /.test(request));
      }
      if (n === 20) {
        await engine.keep();
      } else if (n === 45) {
        await engine.restore();
      }
    }
    await Promise.all(direct);
    const relayed = async () => {
      const { records } = await three[1]!.log.page(1, 1_000);
      return records.map(({ data }) => JSON.parse(data) as unknown);
    };
    // While the log comes back, it cannot be read.
    const isRelayed = async () => (await relayed()).length >= committed.length + direct.length;
    await waitFor(() => isRelayed().catch(() => false), {
      ...DEADLINE,
      describe: () => three.map(({ health }) => `${health.state}: ${health.reason}`).join('; '),
    });
    expect(await relayed()).toEqual(await heldBy(outbox));
    expect(await relayed()).toEqual(expect.arrayContaining(committed));
    expect((await relayed()).filter((data) => (data as string).startsWith('rollback'))).toEqual([]);
  });

  it('resets clients if the outbox has lost what was relayed, and goes on with what it has', async () => {
    const [one, other] = [open(), open()];
    const ears = [await follow(one), await follow(other)];
    await publishWithin(one, 'kept', 'commit');
    await one.log.append([event('lost')]);
    await other.log.append([event('lost, too')]);
    await waitFor(() => ears.every(({ heard }) => heard.length >= 3), DEADLINE);
    await setBack(outbox, 1);
    await publishWithin(one, 'after', 'commit');
    // It is published once the log has its new epoch.
    await other.log.append([event('last')]);
    await waitFor(() => ears.every(({ resets }) => resets.length > 0), DEADLINE);
    const { records } = await one.log.page(1, 100);
    expect(records.map(({ data }) => JSON.parse(data) as unknown)).toEqual(['kept', 'after', 'last']);
    expect(warnings).toContainEqual(expect.stringMatching(/^The outbox in PostgreSQL lacks events that/));
    await one.log.append([event('more')]);
    await waitFor(() => ears.every((ear) => dataOf(ear).at(-1) === 'more'), DEADLINE);
  });

  it('resets clients if the outbox is another one, by an instance that starts', async () => {
    const before = open();
    await follow(before);
    await before.log.append([event('relayed'), event('relayed, too')]);
    await before.close();
    const reader = log(engine.server.port, outbox)();
    stores.push(reader);
    const ear = await follow(reader);
    const after = open({ log: `${outbox}-other` });
    await follow(after);
    await after.log.append([event('of another')]);
    await waitFor(() => ear.resets.length > 0, DEADLINE);
    const { records } = await reader.log.page(1, 100);
    expect(records.map(({ data }) => JSON.parse(data) as unknown)).toEqual(['of another']);
    await after.log.append([event('more')]);
    await waitFor(() => dataOf(ear).at(-1) === 'more', DEADLINE);
  });

  it('publishes nothing while the database is away, and says so; what others publish is followed', async () => {
    const proxy = await proxyTo(database.port);
    const url = postgresUrl(proxy.port);
    const [store, impatient, other] = [open({ url }), open({ url, publishTimeoutMs: 500 }), open()];
    const ear = await follow(store);
    await follow(other);
    await store.log.append([event('before')]);
    proxy.refuse();
    proxy.drop();
    await expect(impatient.log.append([event('meanwhile')])).rejects.toMatchObject({
      code: 'publish-failed',
      message: expect.stringMatching(/^PostgreSQL did not take the event/),
    });
    // Before that, the relay may say that it cannot read the outbox.
    await waitFor(() => store.health.reason?.startsWith('the outbox: PostgreSQL: '), {
      ...DEADLINE,
      describe: () => `${store.health.state}: ${store.health.reason}`,
    });
    expect(store.health.state).toBe('degraded');
    await other.log.append([event('by another')]);
    await proxy.accept();
    await waitFor(() => store.health.state === 'ready', DEADLINE);
    await store.log.append([event('after')]);
    await waitFor(() => ear.heard.length >= 3, DEADLINE);
    expect(dataOf(ear)).toEqual(['before', 'by another', 'after']);
  });

  it('keeps what is published while the log is away, and relays it when it is back', async () => {
    const proxy = await proxyTo(engine.server.port);
    const store = open({}, proxy.port);
    const ear = await follow(store);
    await store.log.append([event('before')]);
    proxy.refuse();
    proxy.drop();
    await publishWithin(store, 'committed', 'commit');
    const publishing = store.log.append([event('direct')]);
    await waitFor(async () => (await heldBy(outbox)).length === 3, DEADLINE);
    await waitFor(() => store.health.state !== 'ready', DEADLINE);
    await proxy.accept();
    const { records } = await publishing;
    await waitFor(() => ear.heard.length >= 3, DEADLINE);
    await waitFor(() => store.health.state === 'ready', DEADLINE);
    expect([dataOf(ear), records[0]!.sequence]).toEqual([
      ['before', 'committed', 'direct'],
      ear.heard[2]!.sequence,
    ]);
  });
});

describe('postgresOutbox() with a log on NATS that has deleted all it had', () => {
  const LOG = 'noted';
  const LEASES = `sse-${LOG}-leases`;
  const NOTE = `sse.${LOG}.leases.${subjectTokenOf('log:relay')}`;
  let server: NatsServer;
  let connection: NatsConnection;
  let manager: JetStreamManager;

  beforeAll(async () => {
    server = await startNats();
    connection = await connectToNats({ servers: server.url });
    manager = await jetstreamManager(connection);
  });
  afterAll(async () => {
    await connection.close();
    await server.stop();
  });

  const open = (warn: (message: string) => void) => {
    const target = nats({ servers: server.url, log: LOG, storage: 'memory', requestTimeoutMs: 5_000 });
    return postgresOutbox({ url: database.url, log: LOG, ...PATIENT })(target, {
      maxEventBytes: 1_048_576,
      warn,
    });
  };
  const newestOf = async (subject: string) =>
    (await manager.streams.getMessage(LEASES, { last_by_subj: subject }).catch(() => undefined))?.string();

  it('relays none of it again by an instance that starts then: the place was noted', async () => {
    const warnings: string[] = [];
    const before = open((message) => void warnings.push(message));
    await before.log.follow(new Ear());
    await before.log.append([event('one'), event('two')]);
    const { epoch } = await before.log.head();
    await waitFor(async () => (await newestOf(NOTE))?.includes(`"${epoch}",2,`), DEADLINE);
    await before.close();
    await manager.streams.purge(`sse-${LOG}`);
    const after = open((message) => void warnings.push(message));
    const ear = new Ear();
    await after.log.follow(ear);
    await after.log.append([event('three')]);
    await waitFor(() => ear.heard.length > 0, DEADLINE);
    const page = await after.log.page(1, 100);
    await after.close();
    expect([page.epoch, page.records.map(({ data }) => data)]).toEqual([epoch, ['"three"']]);
    expect([dataOf(ear), ear.resets, warnings]).toEqual([['three'], [], []]);
  });

  it('relays all that the outbox keeps, in a new epoch, if the note is lost as well', async () => {
    const before = open(() => undefined);
    await before.log.append([event('before')]);
    const { epoch } = await before.log.head();
    const held = (await heldBy(LOG)).map((data) => JSON.stringify(data));
    await before.close();
    await manager.streams.purge(`sse-${LOG}`);
    await manager.streams.purge(LEASES);
    const after = open(() => undefined);
    await after.log.follow(new Ear());
    await after.log.append([event('after')]);
    const page = await after.log.page(1, 100);
    await after.close();
    expect(page.epoch).not.toBe(epoch);
    expect(page.records.map(({ data }) => data)).toEqual([...held, '"after"']);
  });
});

describe('an app with an outbox', () => {
  it('publishes within a transaction by SseService', async () => {
    const [{ start, log }] = outboxEngines as [(typeof outboxEngines)[number]];
    const engine = await start();
    const module = await Test.createTestingModule({
      imports: [
        SseModule.forRoot({
          log: log(engine.server.port, 'app'),
          outbox: postgresOutbox({ url: database.url, log: 'app', ...PATIENT }),
        }),
      ],
    }).compile();
    const app = await module.createNestApplication().init();
    const sse = app.get(SseService);
    const received: unknown[] = [];
    const subscription = sse
      .events('orders.*')
      .subscribe((one) => received.push('event' in one ? one.event.data : one));
    await client.query('begin');
    await sse.publish('orders.1', { data: 'within' }, { transaction: client });
    await client.query('commit');
    await waitFor(() => received.length > 0, DEADLINE);
    const position = await sse.publish('orders.1', { data: 'direct' });
    await waitFor(() => received.length > 1, DEADLINE);
    subscription.unsubscribe();
    await app.close();
    await engine.stop();
    expect(received).toEqual(['within', 'direct']);
    expect(position).toMatch(/^\w+-2-[0-9a-f]{8}$/);
  });

  it.each([
    ['memory()', memory(), /for a log that instances share on Redis or NATS/],
    ['postgres()', postgres({ url: 'postgres://127.0.0.1:1/none' }), /takes transactions itself: leave out/],
  ])('is refused with %s', (_name, log, message) => {
    expect(() => postgresOutbox({ url: database.url })(log)).toThrow(
      expect.objectContaining({
        code: 'options-invalid',
        field: 'outbox',
        message: expect.stringMatching(message),
      }),
    );
  });
});
