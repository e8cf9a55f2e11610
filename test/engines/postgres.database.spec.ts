import { rename, rm, symlink } from 'node:fs/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { postgresSchema } from 'nestjs-event-stream/postgres';
import { waitFor } from 'nestjs-event-stream/testing';
import { Client, Pool } from 'pg';
import type { EventLogStore } from '../../lib/log/index.js';
import { HealthMonitor } from '../../lib/sse.health.js';
import { postgresUrl, startPostgres } from '../support/servers/postgres-server.js';
import type { PostgresServer } from '../support/servers/postgres-server.js';
import { append, dataOf, DEADLINE, follow, open, record, untilReady, untilReset } from './postgres-stores.js';

// Faults of a database that answers: a full disk, settings of its users, its clock.

/** For calls that must not run out of time on a busy machine. */
const PATIENT = { startTimeoutMs: 20_000, commandTimeoutMs: 20_000, publishTimeoutMs: 20_000 };

let server: PostgresServer;
let log: string;
let count = 0;

beforeAll(async () => {
  // Commits that are not synchronous reach the disk late enough for a crash to lose them.
  server = await startPostgres({ settings: { wal_writer_delay: '10s' } });
  await server.query(postgresSchema());
});
afterAll(() => server.stop());
beforeEach(() => {
  log = `log-${(count += 1)}`;
});

const store = (options = {}) => open({ url: server.url, log, ...PATIENT, ...options });
const keptIn = async (one: EventLogStore) =>
  (await one.log.page(1, 10)).records.map(({ data }) => Number(data));

/** Makes a user with the rights of the log. @param settings - statements for it. @returns its URL */
async function createUser(name: string, settings: string): Promise<string> {
  await server.query(
    `create role ${name} login; grant usage on schema sse to ${name};
     grant all on all tables in schema sse to ${name}; grant all on all sequences in schema sse to ${name}; ${settings}`,
  );
  return postgresUrl(server.port, name);
}

async function connect(url = server.url): Promise<Client> {
  const client = new Client({ connectionString: url });
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

describe('postgres(), when the disk is full', () => {
  /** Takes the room for a table without rows: its file is a device that is always full. @returns makes room again */
  async function takeRoomFor(table: string): Promise<() => Promise<void>> {
    const [row] = await server.query(
      `select current_setting('data_directory') || '/' || pg_relation_filepath('${table}') as file`,
    );
    const file = row!['file'] as string;
    await rename(file, `${file}.kept`);
    await symlink('/dev/full', file);
    return async () => {
      await rm(file);
      await rename(`${file}.kept`, file);
      // They have opened the other one.
      await server.endConnections();
    };
  }

  it('refuses what is published at once, says what to do, and goes on once there is room', async () => {
    await server.query(postgresSchema('full_disk'));
    const makeRoom = await takeRoomFor('full_disk.events');
    const one = store({ schema: 'full_disk' });
    const ear = await follow(one);
    await untilReady(one);
    const lines: string[] = [];
    const add = (line: string) => void lines.push(line);
    const monitor = new HealthMonitor(one.health, { warn: add, log: add });
    monitor.start();
    await expect(one.log.append([record(1)])).rejects.toMatchObject({
      code: 'publish-failed',
      isOutcomeKnown: true,
      message: expect.stringMatching(/^PostgreSQL refused the event: .*No space left on device\. Make room/),
    });
    await waitFor(() => lines.length > 0, DEADLINE);
    expect(lines).toEqual([
      expect.stringMatching(
        /^The log of topics is degraded: PostgreSQL: publishing fails \(.*No space left on device\)\. Make room .*\.$/,
      ),
    ]);
    monitor.close();
    await makeRoom();
    await append(one, 2);
    await ear.until(1);
    expect([dataOf(ear), ear.resets, await keptIn(one)]).toEqual([[2], [], [2]]);
    await untilReady(one);
  });
});

describe('postgres(), with time limits of the database', () => {
  it('publishes again what a statement_timeout has ended, and health says which setting it is', async () => {
    const url = await createUser('hasty', "alter role hasty set statement_timeout = '200ms'");
    await append(store(), 1);
    const one = store({ url });
    const ear = await follow(one);
    const other = await connect();
    await other.query(`begin; select 1 from sse.logs where log = '${log}' for update`);
    const appending = one.log.append([record(2)]);
    const advice = /statement timeout\)\. Raise the statement_timeout of the user/;
    await waitFor(() => advice.test(one.health.reason ?? ''), DEADLINE);
    await other.query('rollback');
    await appending;
    await append(one, 3);
    await ear.until(3);
    await other.end();
    expect([dataOf(ear), ear.resets]).toEqual([[2, 3], []]);
  });

  it('loses nothing but the events of a transaction that an idle_in_transaction_session_timeout ends', async () => {
    await server.query('create database idle');
    await server.query("alter database idle set idle_in_transaction_session_timeout = '100ms'");
    const url = server.url.replace(/postgres$/, 'idle');
    const one = store({ url });
    const ear = await follow(one);
    const client = await connect(url);
    const ended = new Promise((resolve) => void client.once('end', resolve));
    // On a slow machine it ends before the event is there.
    await Promise.allSettled([client.query('begin'), one.appendWithin!(client, [record(1)])]);
    await ended;
    await expect(client.query('commit')).rejects.toThrow('not queryable');
    await append(one, 2);
    await ear.until(1);
    expect([dataOf(ear), ear.resets]).toEqual([[2], []]);
  });
});

describe('postgres() of a user with a password', () => {
  const USER = 'guarded';
  const urlWith = (password: string) => postgresUrl(server.port, `${USER}${password && `:${password}`}`);
  const setPassword = (password: string) =>
    server.query(`set password_encryption = 'scram-sha-256'; alter role ${USER} password '${password}'`);

  beforeAll(async () => {
    await createUser(USER, '');
    await setPassword('first');
    const [row] = await server.query('show hba_file');
    const rules = [`host all ${USER} 127.0.0.1/32 scram-sha-256`, 'host all all 127.0.0.1/32 trust'];
    await server.query(
      `copy (select unnest('{${rules.join()}}'::text[])) to '${row!['hba_file'] as string}'`,
    );
    await server.query('select pg_reload_conf()');
    const isRefused = () =>
      connect(urlWith('wrong')).then(
        (client) => client.end().then(() => false),
        () => true,
      );
    await waitFor(isRefused, DEADLINE);
  });

  it.each([
    ['a wrong one', 'wrong', 'password authentication failed'],
    ['none', '', 'password must be a string'],
  ])('does not start with %s, at once, and says what to look at', async (_what, password, message) => {
    const one = store({ url: urlWith(password), startTimeoutMs: Infinity });
    await expect(follow(one)).rejects.toMatchObject({
      code: 'log-unavailable',
      message: expect.stringMatching(
        new RegExp(`${message}.*\\. Check that the connection has the present pass`),
      ),
    });
  });

  it('goes on once it is given the present one, after a change while it runs', async () => {
    const passwords = { known: 'first' };
    const pool = new Pool({ ...serverOptions(), user: USER, password: () => passwords.known });
    const one = store({ url: undefined, pool });
    const ear = await follow(one);
    // Both connections are open, so that both are ended.
    await untilReady(one);
    await setPassword('second');
    await server.endConnections();
    const advice = /password authentication failed .*\. Check that the connection has the present password/;
    await waitFor(() => one.health.state === 'down' && advice.test(one.health.reason ?? ''), DEADLINE);
    const late = store({ url: undefined, pool, publishTimeoutMs: 3_000 });
    await expect(late.log.append([record(1)])).rejects.toMatchObject({
      code: 'publish-failed',
      isOutcomeKnown: true,
      message: expect.stringContaining(
        'it was not published. Check that the connection has the present password',
      ),
    });
    passwords.known = 'second';
    await untilReady(one);
    await append(one, 2);
    await ear.until(1);
    expect([dataOf(ear), ear.resets]).toEqual([[2], []]);
    await pool.end();
  });

  const serverOptions = () => ({ host: '127.0.0.1', port: server.port, database: 'postgres' });
});

describe('postgres() with synchronous_commit = off', () => {
  it('resets its clients if a crash has lost events, and goes on', async () => {
    await append(store(), 1);
    const one = store({ url: await createUser('lax', 'alter role lax set synchronous_commit = off') });
    const ear = await follow(one);
    await append(one, 2, 5);
    await ear.until(4);
    const { epoch } = await one.log.head();
    await server.restart();
    const ofLog = `(select id from sse.logs where log = '${log}')`;
    const hasLost = (await server.query(`select from sse.events where log_id = ${ofLog}`)).length < 5;
    await append(one, 6);
    if (hasLost) {
      await untilReset(ear);
    }
    await append(one, 7);
    await waitFor(() => dataOf(ear).includes(7), DEADLINE);
    expect([ear.resets.length > 0, (await one.log.head()).epoch !== epoch]).toEqual([hasLost, hasLost]);
    expect((await keptIn(one)).slice(-2)).toEqual([6, 7]);
  });
});

describe('postgres(), when the clock of the server is set', () => {
  it('keeps the order and takes what is published; a lease ends early if it is set forward', async () => {
    // The functions of the log find this one before PostgreSQL's own.
    await server.query(
      `create schema set_clock; create table set_clock.ahead (by interval); insert into set_clock.ahead values ('0');
       create function set_clock.clock_timestamp() returns timestamptz language sql as
         'select pg_catalog.clock_timestamp() + by from set_clock.ahead';
       grant usage on schema set_clock to public; grant select on set_clock.ahead to public`,
    );
    const url = await createUser('timed', 'alter role timed set search_path = set_clock, pg_catalog');
    const setTo = (by: string) => server.query(`update set_clock.ahead set by = '${by}'`);
    const [one, other] = [store({ url }), store({ url })];
    const ears = [await follow(one), await follow(other)];
    await append(one, 1);
    await append(other, 2);
    expect([
      await one.lease('run', { ttlMs: 3_600_000 }),
      await other.lease('run', { ttlMs: 60_000 }),
    ]).toEqual([expect.anything(), undefined]);
    await setTo('1 day');
    await append(one, 3);
    await append(other, 4);
    expect(await other.lease('run', { ttlMs: 60_000 })).toBeDefined();
    await setTo('-1 day');
    await append(one, 5);
    await append(other, 6);
    await Promise.all(ears.map((ear) => ear.until(6)));
    expect(ears.map((ear) => [dataOf(ear), ear.resets])).toEqual([1, 2].map(() => [[1, 2, 3, 4, 5, 6], []]));
    await untilReady(one);
  });
});
