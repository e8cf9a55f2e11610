import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { waitFor } from 'nestjs-event-stream/testing';
import { Client, Pool } from 'pg';
import { FaultProxy } from '../support/faults/fault-proxy.js';
import { postgresUrl, startPostgres } from '../support/servers/postgres-server.js';
import type { PostgresServer } from '../support/servers/postgres-server.js';
import { append, dataOf, DEADLINE, follow, open, record, untilReady, untilReset } from './postgres-stores.js';

const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, n) => from + n);

let server: PostgresServer;
let proxy: FaultProxy;
let log: string;
let count = 0;

beforeAll(async () => {
  server = await startPostgres();
});
afterAll(() => server.stop());
beforeEach(async () => {
  log = `log-${(count += 1)}`;
  proxy = await FaultProxy.start(server.port);
});
afterEach(() => proxy.stop());

const store = (options = {}) => open({ url: server.url, log, ...options });
/** The id of this test's log. */
const LOG_ID = () => `(select id from sse.logs where log = '${log}' and name = '')`;

/** A connection of another program, with statements of its own. */
async function withClient(use: (client: Client) => Promise<void>): Promise<void> {
  const client = new Client({ connectionString: server.url });
  client.on('error', () => undefined);
  await client.connect();
  try {
    await use(client);
  } finally {
    await client.end();
  }
}

describe('postgres(), when connections', () => {
  it('are killed again and again, has each event once', async () => {
    const [one, other] = [store(), store()];
    const [ear] = [await follow(other), await follow(one)];
    const writing = Promise.all([append(one, 1, 60), append(other, 61, 120)]);
    const writer = { isWriting: true };
    void writing.finally(() => (writer.isWriting = false));
    for (let kills = 0; writer.isWriting && kills < 5; kills += 1) {
      await server.endConnections();
      const reached = ear.heard.length;
      await waitFor(() => !writer.isWriting || ear.heard.length >= reached + 10, DEADLINE);
    }
    await writing;
    await ear.until(120);
    expect([...dataOf(ear)].sort((a, b) => a - b)).toEqual(range(1, 120));
    expect(ear.resets).toEqual([]);
    await untilReady(one);
    await untilReady(other);
  });

  it.each(['cut', 'black hole'] as const)(
    'lose the answer to an append by a %s, has it once',
    async (how) => {
      const one = store({ url: postgresUrl(proxy.port), commandTimeoutMs: 1_000 });
      const ear = await follow(one);
      await append(one, 1);
      const swallowed = proxy.swallowReply((request) => request.includes('"sse".append('), how);
      const appending = one.log.append([record(2), record(3)]);
      await swallowed;
      const { records } = await appending;
      expect(records.map(({ sequence }) => sequence)).toEqual([2, 3]);
      await append(one, 4);
      await ear.until(4);
      expect(dataOf(ear)).toEqual([1, 2, 3, 4]);
    },
  );

  it('carry an append that is late, do not have it appended', async () => {
    const [one, other] = [store({ url: postgresUrl(proxy.port), publishTimeoutMs: 2_500 }), store()];
    await append(one, 1);
    proxy.blackHole('both');
    await expect(one.log.append([record(2)])).rejects.toMatchObject({ code: 'publish-failed' });
    proxy.heal();
    await append(other, 3);
    expect((await other.log.page(1, 10)).records.map(({ data }) => data)).toEqual(['1', '3']);
  });

  it.each(['open_log', 'take_lease', 'claim'])(
    'carry a call of %s that is late, sends it again in time',
    async (name) => {
      const pool = new Pool({ connectionString: server.url });
      const late: string[] = [];
      const query = async (text: string, values: unknown[] = []) => {
        const isFirst = text.includes(`.${name}(`) && late.length === 0;
        if (isFirst) {
          late.push(name);
        }
        // The deadline is the last argument.
        return (await pool.query(text, isFirst ? [...values.slice(0, -1), '0'] : values)).rows as object[];
      };
      const one = open({ pool: { query }, log });
      try {
        const lease = await one.lease('run', { ttlMs: 60_000 });
        const run = await one.open('run', { maxEvents: 10, ttlMs: 60_000, lease });
        const { records } = await run.append([record(1)], { lease });
        expect([records.length, await one.claim('ticket', { ttlMs: 60_000 })]).toEqual([1, true]);
        expect(late).toEqual([name]);
      } finally {
        await one.close();
        await pool.end();
      }
    },
  );

  it('cannot be made, says so in time, and goes on later', async () => {
    const one = store({ url: postgresUrl(proxy.port), publishTimeoutMs: 500 });
    const ear = await follow(one);
    await append(one, 1);
    await ear.until(1);
    proxy.refuse();
    proxy.drop();
    await waitFor(() => one.health.state === 'down', DEADLINE);
    expect(one.health.reason).toContain('ECONNREFUSED');
    await expect(one.log.append([record(2)])).rejects.toMatchObject({
      code: 'publish-failed',
      isOutcomeKnown: true,
    });
    await proxy.accept();
    await untilReady(one);
    await append(one, 3);
    await ear.until(2);
    expect([dataOf(ear), ear.resets]).toEqual([[1, 3], []]);
  });

  it.each([
    ['may not be made by its user any more', 'nologin', 'login', '28000', 'may log in'],
    ['are used up', 'connection limit 0', 'connection limit -1', '53300', 'max_connections'],
  ])('%s, says what to do, and goes on once it is done', async (_what, worse, better, code, hint) => {
    const user = `user_${code}`;
    await server.query(`create role ${user} login`);
    const owner = store();
    await append(owner, 1);
    await server.query(
      `grant usage on schema sse to ${user}; grant all on all tables in schema sse to ${user};
       grant all on all sequences in schema sse to ${user}`,
    );
    const url = postgresUrl(server.port, user);
    const one = store({ url, publishTimeoutMs: 1_000 });
    const ear = await follow(one);
    // Both connections are open, so that both are ended.
    await untilReady(one);
    await server.query(`alter role ${user} ${worse}`);
    await server.endConnections();
    await waitFor(() => one.health.state === 'down' && one.health.reason?.includes(hint), DEADLINE);
    await expect(one.log.append([record(2)])).rejects.toMatchObject({
      code: 'publish-failed',
      isOutcomeKnown: true,
    });
    const late = store({ url, startTimeoutMs: 500 });
    await expect(follow(late)).rejects.toMatchObject({
      code: 'log-unavailable',
      message: expect.stringContaining(hint),
    });
    await server.query(`alter role ${user} ${better}`);
    await untilReady(one);
    await append(one, 3);
    await waitFor(() => dataOf(ear).includes(3), DEADLINE);
    expect(ear.resets).toEqual([]);
  });
});

describe('postgres(), when the server', () => {
  it('is killed and restarted, goes on as if nothing had been', async () => {
    const one = store({ publishTimeoutMs: 25_000 });
    const ear = await follow(one);
    await append(one, 1, 5);
    // Before that it is down as well, as it is when there was no connection yet.
    await untilReady(one);
    await server.kill();
    const during = append(one, 6);
    await waitFor(() => one.health.state === 'down', DEADLINE);
    const { reason } = one.health;
    await server.restart();
    await during;
    expect(reason).toMatch(/^PostgreSQL: publishing fails \(.+\); reading fails \(.+\)/);
    await append(one, 7, 9);
    await ear.until(9);
    expect([dataOf(ear), ear.resets]).toEqual([range(1, 9), []]);
    await untilReady(one);
  });

  it('has another line of data, as after a promotion or in a copy, begins a new epoch', async () => {
    const [one, other] = [store(), store()];
    const ears = [await follow(one), await follow(other)];
    await append(one, 1, 3);
    await Promise.all(ears.map((ear) => ear.until(3)));
    // All of it is there. Whether it is, no process could know after the last ones were ended with the server.
    await server.query(`update sse.logs set identity = '1:00000001' where log = '${log}'`);
    await Promise.all(ears.map((ear) => untilReset(ear)));
    await append(other, 4);
    await Promise.all(ears.map((ear) => ear.until(4)));
    expect(ears.map(({ reasons }) => reasons)).toEqual([['epoch'], ['epoch']]);
    expect(ears[0]!.resets).toEqual(ears[1]!.resets);
  });
});

describe('postgres(), when another program', () => {
  it('deletes events before they were read, resets its followers', async () => {
    const one = store();
    const ear = await follow(one);
    await append(one, 1, 3);
    await ear.until(3);
    // Those after it stand in their places.
    await server.query(
      `begin; insert into sse.events (log_id, sequence, "time", kind, nonce, previous, topic, data)
       values (${LOG_ID()}, 5, 1, 1, 'bbbbbbbb', 'aaaaaaaa', 'a', '5');
       update sse.logs set sequence = 5, nonce = 'bbbbbbbb' where id = ${LOG_ID()}; commit`,
    );
    await untilReset(ear);
    await append(one, 6);
    await waitFor(() => dataOf(ear).includes(6), DEADLINE);
    expect([ear.reasons, dataOf(ear)]).toEqual([['trimmed'], [1, 2, 3, 6]]);
  });

  it.each([
    ['deletes all events', () => `delete from sse.events where log_id = ${LOG_ID()}`],
    ['truncates the table of events', () => 'truncate sse.events'],
  ])('%s, lets those who have read them go on', async (_what, statement) => {
    const one = store();
    const ear = await follow(one);
    await append(one, 1, 3);
    await ear.until(3);
    await server.query(statement());
    await append(one, 4);
    await ear.until(4);
    expect([dataOf(ear), ear.resets]).toEqual([[1, 2, 3, 4], []]);
    expect(await one.log.page(1, 10)).toMatchObject({ first: 4, head: 4 });
  });

  it.each([
    ['deletes the row of the log', () => `delete from sse.logs where log = '${log}'`],
    [
      'truncates all tables',
      () => 'truncate sse.logs, sse.events, sse.outbox, sse.commits, sse.leases, sse.claims',
    ],
  ])('%s, gives the log another epoch', async (_what, statement) => {
    const one = store();
    const ear = await follow(one);
    await append(one, 1, 3);
    await ear.until(3);
    const { epoch } = await one.log.head();
    await server.query(statement());
    await untilReset(ear);
    await append(one, 4);
    await waitFor(() => dataOf(ear).includes(4), DEADLINE);
    expect(ear.reasons).toEqual(['epoch']);
    expect((await one.log.head()).epoch).not.toBe(epoch);
    expect((await one.log.page(1, 10)).records.map(({ data }) => data)).toEqual(['4']);
  });

  it.each([
    ['an older state', 'regressed', ''],
    [
      'other events in their places',
      'diverged',
      "update sse.events set nonce = 'aaaaaaaa' where log_id = ID and sequence = 5; update sse.logs set nonce = 'aaaaaaaa' where id = ID;",
    ],
  ])(
    'brings back %s, tells all instances, and gives the log another epoch',
    async (_what, reason, change) => {
      const [one, other] = [store(), store()];
      const ears = [await follow(one), await follow(other)];
      await append(one, 1, 3);
      const [saved] = await server.query(`select sequence, nonce from sse.logs where id = ${LOG_ID()}`);
      await append(one, 4, 5);
      await Promise.all(ears.map((ear) => ear.until(5)));
      const back =
        `delete from sse.events where log_id = ID and sequence > 3; ` +
        `update sse.logs set sequence = 3, nonce = '${saved!['nonce'] as string}' where id = ID`;
      await server.query(`begin; ${change || back}; commit`.replaceAll('ID', LOG_ID()));
      await Promise.all(ears.map((ear) => untilReset(ear)));
      await append(other, 6);
      await Promise.all(ears.map((ear) => waitFor(() => dataOf(ear).includes(6), DEADLINE)));
      for (const ear of ears) {
        expect([reason, 'epoch']).toContain(ear.reasons[0]);
      }
      expect(ears.map((ear) => ear.reasons[0])).toContain(reason);
      expect(ears[0]!.resets.at(-1)!.epoch).toBe(ears[1]!.resets.at(-1)!.epoch);
      expect(ears[0]!.resets.at(-1)!.epoch).toBe((await one.log.head()).epoch);
    },
  );

  it('sets the log back while the answer to an append is lost, has it once at most', async () => {
    const one = store({ url: postgresUrl(proxy.port) });
    await append(one, 1, 5);
    await server.query(
      `begin; delete from sse.events where log_id = ${LOG_ID()} and sequence > 1;
       update sse.logs l set sequence = 1, nonce = e.nonce from sse.events e
       where l.id = ${LOG_ID()} and e.log_id = l.id and e.sequence = 1; commit`,
    );
    const swallowed = proxy.swallowReply((request) => request.includes('"sse".append('), 'cut');
    const [outcome] = await Promise.allSettled([one.log.append([record(6)])]);
    await swallowed;
    if (outcome.status === 'rejected') {
      expect(outcome.reason).toMatchObject({ code: 'publish-failed', isOutcomeKnown: false });
    }
    const data = (await one.log.page(1, 10)).records.map((each) => each.data);
    expect(data.filter((each) => each === '6').length).toBeLessThanOrEqual(1);
    await append(one, 7);
  });

  it('holds the lock of the log, rejects in time and says why, and goes on after', async () => {
    const one = store({ publishTimeoutMs: 4_500 });
    await append(one, 1);
    await withClient(async (client) => {
      await client.query('begin');
      await client.query(`select 1 from sse.logs where id = ${LOG_ID()} for update`);
      const [outcome] = await Promise.all([
        one.log.append([record(2)]).catch((error: unknown) => error),
        waitFor(() => one.health.reason?.includes('Look in pg_stat_activity'), DEADLINE),
      ]);
      expect(outcome).toMatchObject({ code: 'publish-failed' });
      await client.query('rollback');
    });
    await append(one, 3);
    const { records } = await one.log.page(1, 10);
    expect(records.map(({ data }) => data)).toEqual(['1', '3']);
  });

  it('writes what cannot be an event, leaves it out and goes on', async () => {
    const warnings: string[] = [];
    const one = open({ url: server.url, log }, (message) => void warnings.push(message));
    const ear = await follow(one);
    await append(one, 1, 2);
    await ear.until(2);
    await server.query(
      `begin; insert into sse.events (log_id, sequence, "time", kind, nonce, previous, topic, data)
       select id, sequence + 1, 1, 1, 'bbbbbbbb', nonce, 'a b', 'no JSON' from sse.logs where id = ${LOG_ID()};
       update sse.logs set sequence = sequence + 1, nonce = 'bbbbbbbb' where id = ${LOG_ID()}; commit`,
    );
    await append(one, 3);
    await waitFor(() => dataOf(ear).includes(3), DEADLINE);
    expect(ear.reasons).toEqual(['trimmed']);
    expect(warnings.join()).toContain('is no event of this log and was left out');
  });

  it('puts an event past the head, gives the log another epoch and takes what is published', async () => {
    const one = store();
    const ear = await follow(one);
    await append(one, 1, 2);
    await server.query(
      `insert into sse.events (log_id, sequence, "time", kind, nonce, previous, topic, data)
       select id, 3, 1, 1, 'bbbbbbbb', nonce, 'a', '1' from sse.logs where id = ${LOG_ID()}`,
    );
    await append(one, 3);
    await untilReset(ear);
    await append(one, 4);
    await waitFor(() => dataOf(ear).includes(4), DEADLINE);
    expect(ear.reasons).toEqual(['epoch']);
    expect((await one.log.page(1, 10)).records.map(({ data }) => data)).toEqual(['1', '2', '3', '4']);
  });
});

describe('postgres() whose events are published within transactions alone', () => {
  it('takes them into a log that has an event past its head, and gives it another epoch', async () => {
    const one = store();
    const ear = await follow(one);
    await append(one, 1, 2);
    await server.query(
      `insert into sse.events (log_id, sequence, "time", kind, nonce, previous, topic, data)
       select id, 3, 1, 1, 'bbbbbbbb', nonce, 'a', '1' from sse.logs where id = ${LOG_ID()}`,
    );
    await withClient(async (client) => {
      await client.query('begin');
      await one.appendWithin!(client, [record(3)]);
      await client.query('commit');
    });
    await untilReset(ear);
    await waitFor(async () => (await one.log.head()).sequence === 3, DEADLINE);
    expect(ear.reasons).toEqual(['epoch']);
    expect((await one.log.page(1, 10)).records.map(({ data }) => data)).toEqual(['1', '2', '3']);
    await untilReady(one);
  });

  it('has each once if a connection is killed while it takes them', async () => {
    const one = store();
    const ear = await follow(one);
    await append(one, 1);
    await withClient(async (client) => {
      await client.query('begin');
      await client.query('lock table sse.events in share mode');
      await withClient(async (transaction) => {
        await transaction.query('begin');
        await one.appendWithin!(transaction, [record(2), record(3)]);
        await transaction.query('commit');
      });
      // It has locked the row of the log, and waits for the table.
      const kill = `select pg_terminate_backend(pid) from pg_stat_activity where wait_event_type = 'Lock' and query ~ 'drain'`;
      await waitFor(async () => (await server.query(kill)).length > 0, DEADLINE);
      await client.query('rollback');
    });
    await ear.until(3);
    await append(one, 4);
    await ear.until(4);
    expect([dataOf(ear), ear.resets]).toEqual([[1, 2, 3, 4], []]);
    await untilReady(one);
  });

  it('begins the log with them before it closes', async () => {
    const one = store();
    // The schema is there, and the log is not.
    await append(store({ log: 'any' }), 1);
    await withClient(async (client) => {
      await client.query('begin');
      await one.appendWithin!(client, [record(1)]);
      await client.query('commit');
    });
    await one.close();
    expect((await store().log.head()).sequence).toBe(1);
  });

  it('takes a part of an outbox that has filled up, by a plan of when it was empty, without reading the rest', async () => {
    const one = store();
    await append(one, 1);
    await one.close();
    const commits = (n: number) => `do $$ begin for n in 1..${n} loop
      insert into sse.outbox (log, "time", kind, topic, data) values ('${log}', 1, 1, 'a', n::text);
      commit;
    end loop; end $$`;
    const drain = `select sse.drain('${log}', '100000')::json->>0 as taken`;
    await withClient(async (client) => {
      await client.query(commits(1));
      expect((await client.query(drain)).rows).toEqual([{ taken: '1' }]);
      await client.query(commits(1_500));
      await client.query('begin');
      expect((await client.query(drain)).rows).toEqual([{ taken: '500' }]);
      const read = "select idx_tup_fetch::int as rows from pg_stat_xact_user_tables where relname = 'outbox'";
      // With those before that PostgreSQL has not counted elsewhere yet.
      expect((await client.query(read)).rows[0].rows).toBeLessThan(510);
      await client.query('commit');
    });
    const other = store();
    await follow(other);
    await waitFor(async () => (await other.log.head()).sequence === 1_502, DEADLINE);
  });
});

describe('postgres() with limits', () => {
  it('drops events that are older than maxAgeMs', async () => {
    const one = store({ maxAgeMs: 3_600_000 });
    await append(one, 1, 5);
    await server.query(`update sse.events set "time" = 1 where log_id = ${LOG_ID()} and sequence <= 3`);
    await server.query(`select sse.sweep('${log}', '3600000')`);
    const { records, first } = await one.log.page(1, 10);
    expect([records.map(({ data }) => data), first]).toEqual([['4', '5'], 4]);
    expect((await follow(one)).resets).toEqual([]);
  });

  it('sweeps what is over: logs of runs, their events, leases and claims', async () => {
    const one = store();
    const run = await one.open('run', { maxEvents: 10, ttlMs: 1 });
    const lease = (await one.lease('run', { ttlMs: 60_000 }))!;
    await one.claim('ticket', { ttlMs: 1 });
    await Promise.allSettled([run.append([record(1)])]);
    await lease.release();
    await append(one, 1);
    const held = `select (select count(*) from sse.logs where log = '${log}')::int as logs,
      (select count(*) from sse.leases where log = '${log}')::int as leases,
      (select count(*) from sse.claims where log = '${log}')::int as claims,
      (select count(*) from sse.events e where not exists (select from sse.logs l where l.id = e.log_id))::int as lost`;
    await waitFor(async () => {
      await server.query(`select sse.sweep('${log}', '')`);
      const [row] = await server.query(held);
      return Object.values(row!).join() === '1,0,0,0';
    }, DEADLINE);
    expect((await one.log.head()).sequence).toBe(1);
  });
});
