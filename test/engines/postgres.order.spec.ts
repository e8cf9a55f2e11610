import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { waitFor } from 'nestjs-event-stream/testing';
import { Client } from 'pg';
import type { EventLogStore } from '../../lib/log/index.js';
import { Random } from '../support/random.js';
import { startPostgres } from '../support/servers/postgres-server.js';
import type { PostgresServer } from '../support/servers/postgres-server.js';
import type { Ear } from './contract/ear.js';
import { DEADLINE, follow, open } from './postgres-stores.js';

// The order of transactions: what one has seen of another stands before what it says itself.

const WORKERS = 6;
const TRANSACTIONS = 15;

let server: PostgresServer;
const clients: Client[] = [];

beforeAll(async () => {
  server = await startPostgres({ settings: { max_prepared_transactions: '4' } });
  await server.query('create table done (tx text primary key)');
});
afterAll(async () => {
  await Promise.all(clients.splice(0).map((client) => client.end()));
  await server.stop();
});

async function connect(): Promise<Client> {
  const client = new Client({ connectionString: server.url });
  client.on('error', () => undefined);
  await client.connect();
  clients.push(client);
  return client;
}

const event = (data: unknown) => ({ topic: 'a', data: JSON.stringify(data), isJson: true });
const seenBy = async (client: Client) =>
  (await client.query<{ tx: string }>('select tx from done')).rows.map(({ tx }) => tx);

/** An event of the fuzz: its transaction, and its number in it. */
type Said = readonly [tx: string, n: number];
const saidTo = (ear: Ear) => ear.heard.map(({ data }) => JSON.parse(data) as Said);

describe('the order of transactions', () => {
  /** Two transactions that are taken into the log together: the log's row is locked until both have committed. */
  const taken = async (
    log: string,
    run: (store: EventLogStore, one: Client, other: Client) => Promise<void>,
  ) => {
    const store = open({ url: server.url, log });
    const ear = await follow(store);
    const [locker, one, other] = [await connect(), await connect(), await connect()];
    await locker.query('begin');
    await locker.query('select 1 from sse.logs where log = $1 for update', [log]);
    await run(store, one, other);
    await locker.query('commit');
    await waitFor(() => ear.heard.length >= 2, DEADLINE);
    return ear.heard.map(({ data }) => JSON.parse(data) as string);
  };

  it('is not that in which they have published', async () => {
    const order = await taken('insert', async (store, one, other) => {
      await one.query('begin');
      await store.appendWithin!(one, [event('sees the other')]);
      await other.query('begin');
      await store.appendWithin!(other, [event('is seen')]);
      await other.query("insert into done values ('insert')");
      await other.query('commit');
      expect(await seenBy(one)).toContain('insert');
      await one.query('commit');
    });
    expect(order).toEqual(['is seen', 'sees the other']);
  });

  it('is not that in which they have begun to write', async () => {
    const order = await taken('xid', async (store, one, other) => {
      await one.query('begin');
      await one.query("insert into done values ('xid, one')");
      await other.query('begin');
      await other.query("insert into done values ('xid, other')");
      await store.appendWithin!(other, [event('is seen')]);
      await other.query('commit');
      expect(await seenBy(one)).toContain('xid, other');
      await store.appendWithin!(one, [event('sees the other')]);
      await one.query('commit');
    });
    expect(order).toEqual(['is seen', 'sees the other']);
  });

  it('puts what is published directly after what its publisher has seen', async () => {
    const order = await taken('direct', async (store, one) => {
      // It is closed before the commit, so that it does not take the event out of the outbox.
      const publisher = open({ url: server.url, log: 'direct' });
      await one.query('begin');
      await publisher.appendWithin!(one, [event('is seen')]);
      await publisher.close();
      await one.query('commit');
      // It waits for the lock, too. If it fails, the second event never comes, and the test fails.
      store.log.append([event('sees it')]).catch(() => undefined);
    });
    expect(order).toEqual(['is seen', 'sees it']);
  });

  // As the guide says: they take their places then, and not as they commit.
  it.each([
    ['PREPARE TRANSACTION', "prepare transaction 'early'", "commit prepared 'early'"],
    ['SET CONSTRAINTS ALL IMMEDIATE', 'set constraints all immediate', 'commit'],
  ])('is that of %s, and not of the commit', async (statement, early, commit) => {
    const order = await taken(statement.replaceAll(' ', '-'), async (store, one, other) => {
      await one.query('begin');
      await store.appendWithin!(one, [event('early')]);
      await one.query(early);
      await other.query('begin');
      await store.appendWithin!(other, [event('late')]);
      await other.query('commit');
      await one.query(commit);
    });
    expect(order).toEqual(['early', 'late']);
  });

  it('waits for no transaction that is prepared; one that is rolled back then has no event', async () => {
    const store = open({ url: server.url, log: 'prepared' });
    const ear = await follow(store);
    const [one, other] = [await connect(), await connect()];
    for (const name of ['commits', 'rolls back']) {
      await one.query('begin');
      await store.appendWithin!(one, [event(name)]);
      await one.query(`prepare transaction '${name}'`);
    }
    await other.query('begin');
    await store.appendWithin!(other, [event('short')]);
    await other.query('commit');
    await ear.until(1);
    await store.log.append([event('direct')]);
    await one.query("rollback prepared 'rolls back'");
    await one.query("commit prepared 'commits'");
    await ear.until(3);
    expect(ear.heard.map(({ data }) => data)).toEqual(['"short"', '"direct"', '"commits"']);
  });

  it('waits for no transaction that stays open', async () => {
    const store = open({ url: server.url, log: 'open' });
    const ear = await follow(store);
    const [long, short] = [await connect(), await connect()];
    await long.query('begin isolation level repeatable read');
    await long.query('select from sse.logs, sse.events, sse.outbox, sse.commits limit 1');
    await store.appendWithin!(long, [event('long')]);
    await short.query('begin');
    await store.appendWithin!(short, [event('short')]);
    await short.query('commit');
    await ear.until(1);
    await store.log.append([event('direct')]);
    // Another instance starts meanwhile.
    const later = open({ url: server.url, log: 'open' });
    const laterEar = await follow(later);
    await later.log.append([event('later')]);
    await Promise.all([ear.until(3), laterEar.until(1)]);
    await long.query('commit');
    await ear.until(4);
    expect(ear.heard.map(({ data }) => data)).toEqual(['"short"', '"direct"', '"later"', '"long"']);
  });

  it.each([1, 2])(
    'holds under workers, rollbacks, savepoints and killed connections: seed %i',
    async (seed) => {
      const log = `fuzz-${seed}`;
      const [store, peer] = [open({ url: server.url, log }), open({ url: server.url, log })];
      const ears = [await follow(store), await follow(peer)];
      const runs = Array.from({ length: WORKERS }, (_, n) =>
        worker({ name: `${seed}-${n}`, stores: [store, peer], random: new Random(seed * 100 + n) }),
      );
      const over = new AbortController();
      const gathering = gather(log, { random: new Random(seed), signal: over.signal });
      const history = (await Promise.all(runs).finally(() => over.abort())).flat();
      await gathering;
      const expected = history
        .filter(({ outcome }) => outcome === 'committed')
        .reduce((sum, { events }) => sum + events, 0);
      await store.log.append([event(['end', 0])]);
      await Promise.all(ears.map((ear) => waitFor(() => saidTo(ear).some(([tx]) => tx === 'end'), DEADLINE)));
      const said = saidTo(ears[0]!);
      expect(saidTo(ears[1]!)).toEqual(said);
      expect(ears.flatMap(({ resets }) => resets)).toEqual([]);
      expect(said.length).toBeGreaterThan(expected);
      // Of what never happened nothing is proved.
      expect(new Set(history.map(({ outcome }) => outcome))).toContain('rolled back');
      expect(history.filter(({ saw }) => saw.length > 1)).not.toEqual([]);
      expect(violations(history, said)).toEqual([]);
    },
  );
});

/** One transaction of the fuzz. */
interface Transaction {
  readonly tx: string;
  readonly outcome: 'committed' | 'rolled back' | 'unknown';
  /** How many events it has published, less those of savepoints that were rolled back. */
  readonly events: number;
  /** The transactions of which it had seen that they had committed, before it committed. */
  readonly saw: readonly string[];
}

interface Worker {
  readonly name: string;
  readonly stores: readonly EventLogStore[];
  readonly random: Random;
}

/** Runs transactions one after another, on a connection that another worker may kill. */
async function worker({ name, stores, random }: Worker): Promise<Transaction[]> {
  const history: Transaction[] = [];
  let client = await connect();
  for (let n = 0; n < TRANSACTIONS; n += 1) {
    const tx = `${name}-${n}`;
    const state = { events: 0, saw: [] as string[], isCommitting: false };
    let outcome: Transaction['outcome'] = 'rolled back';
    try {
      outcome = await transact(client, { tx, store: stores[n % stores.length]!, random, state });
    } catch {
      // It was killed. If it was about to commit, its outcome is unknown.
      outcome = state.isCommitting ? 'unknown' : 'rolled back';
      client = await connect();
    }
    history.push({ tx, outcome, events: state.events, saw: state.saw });
    if (random.next() < 0.04) {
      await server.endConnections();
    }
  }
  return history;
}

/**
 * Locks the row of a log for a moment, again and again: transactions that commit meanwhile are taken into it together,
 * so that it is their numbers alone that order them.
 */
async function gather(
  log: string,
  { random, signal }: { random: Random; signal: AbortSignal },
): Promise<void> {
  let client = await connect();
  while (!signal.aborted) {
    try {
      await client.query('begin');
      await client.query('select from sse.logs where log = $1 for update', [log]);
      await client.query('select pg_sleep($1)', [random.between(5, 50) / 1_000]);
      await client.query('commit');
      await client.query('select pg_sleep(0.005)');
    } catch {
      // It was killed, as the workers are.
      client = await connect();
    }
  }
}

async function transact(
  client: Client,
  {
    tx,
    store,
    random,
    state,
  }: {
    tx: string;
    store: EventLogStore;
    random: Random;
    state: { events: number; saw: string[]; isCommitting: boolean };
  },
): Promise<Transaction['outcome']> {
  const publish = () => store.appendWithin!(client, [event([tx, (state.events += 1)])]);
  const steps = [
    async () => void (state.saw = await seenBy(client)),
    publish,
    publish,
    async () => {
      await client.query('savepoint s');
      await store.appendWithin!(client, [event([tx, -1])]);
      await client.query('rollback to savepoint s');
    },
    async () => {
      await client.query('savepoint kept');
      await publish();
      await client.query('release savepoint kept');
    },
    async () => void (await client.query('select pg_sleep(0.002)')),
  ];
  await client.query('begin');
  await client.query('insert into done values ($1)', [tx]);
  for (let left = random.between(2, 6); left > 0; left -= 1) {
    await steps[random.between(0, steps.length - 1)]!();
  }
  await publish();
  state.saw = await seenBy(client);
  if (random.next() < 0.2) {
    await client.query('rollback');
    return 'rolled back';
  }
  state.isCommitting = true;
  await client.query('commit');
  return 'committed';
}

/** What is wrong with the events of a log, for people. */
function violations(history: readonly Transaction[], said: readonly Said[]): string[] {
  const found: string[] = [];
  const places = new Map<string, number[]>();
  said.forEach(([tx], place) => places.set(tx, [...(places.get(tx) ?? []), place]));
  for (const { tx, outcome, events, saw } of history) {
    const own = places.get(tx) ?? [];
    const isWhole = own.length === events && own.every((place, n) => place === own[0]! + n);
    const isInOrder = own.every((place, n) => said[place]![1] === n + 1);
    if (
      outcome === 'rolled back'
        ? own.length > 0
        : !(isWhole && isInOrder) && !(outcome === 'unknown' && own.length === 0)
    ) {
      found.push(`${tx} (${outcome}, ${events} events) stands at ${own.join()}`);
    }
    for (const seen of saw.filter((one) => one !== tx && places.has(one) && own.length > 0)) {
      if (places.get(seen)!.at(-1)! > own[0]!) {
        found.push(`${tx} at ${own[0]} saw ${seen} at ${places.get(seen)!.at(-1)}`);
      }
    }
  }
  return found;
}
