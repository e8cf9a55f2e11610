import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { postgresSchema } from 'nestjs-event-stream/postgres';
import { waitFor } from 'nestjs-event-stream/testing';
import { Client, Pool } from 'pg';
import { TransactionPooler } from '../support/faults/transaction-pooler.js';
import { postgresUrl, startPostgres } from '../support/servers/postgres-server.js';
import type { PostgresServer } from '../support/servers/postgres-server.js';
import { append, dataOf, DEADLINE, follow, open } from './postgres-stores.js';

let server: PostgresServer;

beforeAll(async () => {
  server = await startPostgres();
});
afterAll(() => server.stop());

/** The statements with which the guide grants rights, for a schema. */
const grantsOfTheGuide = (schema: string) => {
  const guide = readFileSync(new URL('../../lib/engines/postgres/README.md', import.meta.url), 'utf8');
  return /```sql\n([^`]+)```/.exec(guide)![1]!.replaceAll('schema sse', `schema ${schema}`);
};

describe('the schema of postgres()', () => {
  it('is made once, by whichever of several instances comes first', async () => {
    const stores = Array.from({ length: 4 }, () => open({ url: server.url, schema: 'made_once' }));
    const heads = await Promise.all(stores.map(({ log }) => log.head()));
    expect(new Set(heads.map(({ epoch }) => epoch)).size).toBe(1);
    await append(stores[0]!, 1);
    expect((await stores[3]!.log.head()).sequence).toBe(1);
  });

  it('can be made by hand, twice, and then serves a user with the rights of the guide alone', async () => {
    await server.query(
      'create role app login; create role clerk login; revoke all on schema public from public',
    );
    await server.query(postgresSchema('by_hand'));
    const owner = open({ url: server.url, schema: 'by_hand' });
    await append(owner, 1);
    await server.query(postgresSchema('by_hand'));
    await server.query(grantsOfTheGuide('by_hand'));
    const store = open({ url: postgresUrl(server.port, 'app'), schema: 'by_hand' });
    const ear = await follow(store);
    await append(store, 2, 3);
    await ear.until(3);
    const lease = (await store.lease('run', { ttlMs: 60_000 }))!;
    const run = await store.open('run', { maxEvents: 10, ttlMs: 60_000, lease });
    await run.append([{ topic: 'a', data: '1', isJson: true }], { lease });
    expect(await store.claim('ticket', { ttlMs: 60_000 })).toBe(true);
    expect((await store.log.page(1, 10)).records.map(({ data }) => data)).toEqual(['1', '2', '3']);

    // The user of the app's own transactions may do less, and the log takes the event from there.
    await server.query('grant usage on schema by_hand to clerk; grant insert on by_hand.outbox to clerk');
    const clerk = new Client(postgresUrl(server.port, 'clerk'));
    await clerk.connect();
    await clerk.query('begin');
    await store.appendWithin!(clerk, [{ topic: 'a', data: '4', isJson: true }]);
    await clerk.query('commit');
    await ear.until(4);
    await expect(clerk.query('select * from by_hand.events')).rejects.toThrow('permission denied');
    await clerk.end();
  });

  it.each([
    ['make it', 'rightless', ''],
    ['use it', 'unusable', 'create schema unusable'],
  ])('says at start what to do for a user who may not %s', async (_what, schema, before) => {
    await server.query(`drop role if exists ${schema}; create role ${schema} login; ${before}`);
    const store = open({ url: postgresUrl(server.port, schema), schema, startTimeoutMs: 20_000 });
    await expect(follow(store)).rejects.toMatchObject({
      code: 'log-unavailable',
      message: expect.stringContaining('postgresSchema()'),
    });
  });

  it('is refused in a database whose text is not UTF-8', async () => {
    await server.query("create database latin template template0 encoding 'LATIN1' locale 'C'");
    const store = open({ url: server.url.replace(/postgres$/, 'latin'), startTimeoutMs: 20_000 });
    await expect(follow(store)).rejects.toThrow('The database has the encoding LATIN1, and events are UTF-8');
  });
});

describe('postgres() of a user whose transactions', () => {
  it.each([
    ['are serializable', "default_transaction_isolation = 'serializable'"],
    ['read one snapshot', "default_transaction_isolation = 'repeatable read'"],
    ['only read', 'default_transaction_read_only = on'],
  ])('%s by default, says in each what it needs', async (what, setting) => {
    const user = `user_${what.replaceAll(' ', '_')}`;
    const schema = user;
    await server.query(`create role ${user} superuser login; alter role ${user} set ${setting}`);
    await server.query(postgresSchema(schema));
    const [store, peer] = ['store', 'peer'].map(() => open({ url: postgresUrl(server.port, user), schema }));
    const ear = await follow(peer!);
    await Promise.all([append(store!, 1, 10), append(peer!, 11, 20)]);
    await ear.until(20);
    expect((await store!.log.page(1, 100)).records).toEqual(ear.heard);
    expect(await store!.lease('run', { ttlMs: 60_000 })).toBeDefined();
  });
});

describe('postgres() that cannot listen', () => {
  it('finds a pooler out, says so once, and reads again and again', async () => {
    const pooler = await TransactionPooler.start(server.port);
    const warnings: string[] = [];
    const store = open(
      { url: postgresUrl(pooler.port), log: 'pooled' },
      (message) => void warnings.push(message),
    );
    const peer = open({ url: server.url, log: 'pooled' });
    const ear = await follow(store);
    await append(peer, 1, 3);
    await ear.until(3);
    // The reader has to open another connection.
    await server.endConnections();
    await append(peer, 4, 5);
    await ear.until(5);
    expect(warnings).toEqual([expect.stringContaining('Give the URL of the server itself as listenUrl')]);
    expect(dataOf(ear)).toEqual([1, 2, 3, 4, 5]);
    await store.close();
    await pooler.stop();
  });

  it('listens by listenUrl, beside the pooler', async () => {
    const pooler = await TransactionPooler.start(server.port);
    const warnings: string[] = [];
    const store = open(
      { url: postgresUrl(pooler.port), listenUrl: server.url, log: 'beside' },
      (message) => void warnings.push(message),
    );
    const ear = await follow(store);
    await append(store, 1);
    await ear.until(1);
    const [{ count }] = (await server.query(
      "select count(*)::int from pg_stat_activity where query like '%tail%' and pid <> pg_backend_pid()",
    )) as [{ count: number }];
    expect([warnings, count]).toEqual([[], 1]);
    await store.close();
    await pooler.stop();
  });

  it.each([
    ['no such log', (options: object) => open({ url: '', ...options }).claim('any', { ttlMs: 1 })],
    ['another log under its id', (options: object) => append(open({ url: '', ...options }), 1)],
  ])('resets no client by a listenUrl to a database with %s, and says so', async (what, prepare) => {
    const name = what.replaceAll(' ', '_');
    await server.query(`create database ${name}`);
    const listenUrl = server.url.replace(/postgres$/, name);
    // Each log is the first of its schema.
    await prepare({ url: listenUrl, schema: name });
    const store = open({ url: server.url, listenUrl, schema: name });
    await append(store, 1);
    const ear = await follow(store);
    await waitFor(() => store.health.reason?.includes('look at listenUrl'), DEADLINE);
    expect(store.health.state).toBe('degraded');
    expect(ear.resets).toEqual([]);
  });

  it.each([
    ['rows', (rows: unknown[]) => rows],
    ['an object with rows', (rows: unknown[]) => ({ rows })],
  ])('works through a function of the app that gives %s', async (_what, given) => {
    const pool = new Pool({ connectionString: server.url });
    const query = async (text: string, values: unknown[] = []) =>
      given((await pool.query(text, values)).rows) as { rows: object[] };
    const warnings: string[] = [];
    const store = open({ pool: { query }, log: 'queried' }, (message) => void warnings.push(message));
    const ear = await follow(store);
    const before = ear.heard.length;
    await append(store, 1, 3);
    await waitFor(() => ear.heard.length >= before + 3, DEADLINE);
    expect(warnings).toEqual([expect.stringContaining('an object with query(), which cannot listen')]);
    await store.close();
    await pool.end();
  });

  it('says what query() must resolve with', async () => {
    const query = () => Promise.resolve('rows' as unknown as object[]);
    const store = open({ pool: { query } });
    await expect(follow(store)).rejects.toThrow(
      'must resolve with rows, or with an object with rows, got "rows"',
    );
  });
});
