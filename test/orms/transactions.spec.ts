import { createRequire } from 'node:module';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import * as mikroOrm6 from '@mikro-orm/postgresql';
import { PrismaPg } from '@prisma/adapter-pg';
import { drizzle } from 'drizzle-orm/node-postgres';
import { drizzle as drizzleOnPostgresJs } from 'drizzle-orm/postgres-js';
import createKnex from 'knex';
import * as kysely28 from 'kysely';
import * as kysely29 from 'kysely-0.29';
import { Pool } from 'pg';
import postgresJs from 'postgres';
import 'reflect-metadata';
import { postgres } from 'nestjs-event-stream/postgres';
import { waitFor } from 'nestjs-event-stream/testing';
import type { EventLogStore, NewRecord } from '../../lib/log/index.js';
import { Ear } from '../engines/contract/ear.js';
import { startPostgres } from '../support/servers/postgres-server.js';
import type { PostgresServer } from '../support/servers/postgres-server.js';
import * as mikroOrm7 from './mikro-orm-7/index.mjs';
import { generatedClient } from './prisma-client.js';

// As CommonJS, which is how Nest 11 apps have it.
const { DataSource } = createRequire(import.meta.url)('typeorm') as typeof import('typeorm');

/** A database library, and how an app uses its transactions. */
interface Library {
  readonly name: string;
  /** Runs a task in a transaction, which rolls back if the task rejects. */
  transaction(task: (transaction: object) => Promise<unknown>): Promise<unknown>;
  /** Runs a task in a savepoint, which is rolled back if it rejects; absent if the library has none. */
  savepoint?(transaction: object, task: (transaction: object) => Promise<unknown>): Promise<unknown>;
  /** What is no transaction of the library. */
  readonly outside?: object;
  close(): Promise<unknown>;
}

function kyselyAt(url: string, name: string, { Kysely, PostgresDialect }: typeof kysely28): Library {
  const pool = new Pool({ connectionString: url });
  const kysely = new Kysely<object>({ dialect: new PostgresDialect({ pool }) });
  return {
    name,
    transaction: (task) => kysely.transaction().execute((trx) => task(trx)),
    outside: kysely,
    close: () => kysely.destroy(),
  };
}

async function mikroOrmAt(
  url: string,
  name: string,
  { MikroORM, EntitySchema }: typeof mikroOrm6,
): Promise<Library> {
  const Row = new EntitySchema({ name: 'Row', properties: { id: { type: 'number', primary: true } } });
  const orm = await MikroORM.init({ clientUrl: url, entities: [Row] });
  return {
    name,
    transaction: (task) => orm.em.fork().transactional((em) => task(em)),
    savepoint: (em, task) => (em as typeof orm.em).transactional((inner) => task(inner)),
    outside: orm.em.fork(),
    close: () => orm.close(),
  };
}

async function librariesAt(url: string): Promise<Library[]> {
  const pool = new Pool({ connectionString: url });
  const sql = postgresJs(url, { onnotice: () => undefined });
  const onPostgresJs = postgresJs(url, { onnotice: () => undefined });
  const source = await new DataSource({ type: 'postgres', url }).initialize();
  const knex = createKnex({ client: 'pg', connection: url });
  const PrismaClient = generatedClient();
  const prisma = new PrismaClient({ adapter: new PrismaPg({ connectionString: url }) });
  const onPg = drizzle({ client: pool });
  const onJs = drizzleOnPostgresJs(onPostgresJs);

  const onClient = async (task: (client: object) => Promise<unknown>) => {
    const client = await pool.connect();
    try {
      await client.query('begin');
      await task(client);
      await client.query('commit');
    } catch (error) {
      await client.query('rollback');
      throw error;
    } finally {
      client.release();
    }
  };
  type Nested = { transaction(task: (tx: object) => Promise<unknown>): Promise<unknown> };
  const nested = (tx: object, task: (tx: object) => Promise<unknown>) => (tx as Nested).transaction(task);

  return [
    {
      name: 'pg',
      transaction: onClient,
      outside: pool,
      close: () => Promise.resolve(),
    },
    {
      name: 'a function',
      transaction: (task) =>
        onClient((client) =>
          task((text: string, params: string[]) => (client as typeof pool).query(text, params)),
        ),
      close: () => Promise.resolve(),
    },
    {
      name: 'postgres.js',
      transaction: (task) => sql.begin((tx) => task(tx)),
      savepoint: (tx, task) => (tx as postgresJs.TransactionSql).savepoint((inner) => task(inner)),
      outside: sql,
      close: () => sql.end(),
    },
    {
      name: 'TypeORM',
      transaction: (task) => source.transaction((manager) => task(manager)),
      savepoint: nested,
      outside: source,
      close: () => source.destroy(),
    },
    {
      name: "TypeORM's QueryRunner",
      transaction: (task) => source.transaction((manager) => task(manager.queryRunner!)),
      outside: source.manager,
      close: () => Promise.resolve(),
    },
    {
      name: 'Drizzle on pg',
      transaction: (task) => onPg.transaction((tx) => task(tx)),
      savepoint: nested,
      outside: onPg,
      close: () => Promise.resolve(),
    },
    {
      name: 'Drizzle on postgres.js',
      transaction: (task) => onJs.transaction((tx) => task(tx)),
      savepoint: nested,
      outside: onJs,
      close: () => onPostgresJs.end(),
    },
    kyselyAt(url, 'Kysely 0.28', kysely28),
    kyselyAt(url, 'Kysely 0.29', kysely29),
    {
      name: 'Knex',
      transaction: (task) => knex.transaction(async (trx) => task(trx)),
      savepoint: nested,
      outside: knex,
      close: () => knex.destroy(),
    },
    await mikroOrmAt(url, 'MikroORM 6', mikroOrm6),
    await mikroOrmAt(url, 'MikroORM 7', mikroOrm7 as unknown as typeof mikroOrm6),
    {
      name: 'Prisma',
      transaction: (task) => prisma.$transaction((tx: object) => task(tx)),
      savepoint: (tx, task) => (tx as typeof prisma).$transaction((inner: object) => task(inner)),
      outside: prisma,
      close: () => prisma.$disconnect(),
    },
    // Last: others use it.
    { name: 'the end', transaction: () => Promise.resolve(), close: () => pool.end() },
  ];
}

const NAMES = [
  'pg',
  'a function',
  'postgres.js',
  'TypeORM',
  "TypeORM's QueryRunner",
  'Drizzle on pg',
  'Drizzle on postgres.js',
  'Kysely 0.28',
  'Kysely 0.29',
  'Knex',
  'MikroORM 6',
  'MikroORM 7',
  'Prisma',
];
const WITH_SAVEPOINTS = [
  'postgres.js',
  'TypeORM',
  'Drizzle on pg',
  'Drizzle on postgres.js',
  'Knex',
  'MikroORM 6',
  'MikroORM 7',
  'Prisma',
];
/** What a library could take for a placeholder, for the end of a text, or for another type. */
const HARD = ['? $1 ?? :name', 'it\'s \\ "quoted"', '{"a":[1,"?"]}', 'aé😀\u2028', 'a\0b', '', '5', 'null'];

let server: PostgresServer;
let libraries: Library[];
let store: EventLogStore;
let ear: Ear;

beforeAll(async () => {
  server = await startPostgres();
  store = postgres({ url: server.url })();
  ear = new Ear();
  await store.log.follow(ear);
  libraries = await librariesAt(server.url);
});
afterAll(async () => {
  await store.close();
  for (const library of libraries) {
    await library.close();
  }
  await server.stop();
});

const event = (data: string, type?: string): NewRecord => ({
  topic: 'orders.1',
  ...(type !== undefined && { type }),
  data,
  isJson: false,
});
const libraryOf = (name: string) => libraries.find((library) => library.name === name)!;
const dataFrom = (index: number) => ear.heard.slice(index).map(({ data }) => data);

describe.each(NAMES)('publishing within a transaction of %s', (name) => {
  it('is there once it has committed, together and in order, and not before', async () => {
    const before = ear.heard.length;
    await libraryOf(name).transaction(async (transaction) => {
      for (const data of HARD) {
        await store.appendWithin!(transaction, [event(data, 'changed')]);
      }
      // A direct one, which takes out all that it may.
      await store.log.append([event('between')]);
    });
    await waitFor(() => ear.heard.length >= before + HARD.length + 1, { timeoutMs: 20_000 });
    expect(dataFrom(before)).toEqual(['between', ...HARD]);
    expect(ear.heard.at(-1)).toMatchObject({ topic: 'orders.1', type: 'changed', isJson: false });
  });

  it('is not there if it rolls back', async () => {
    const before = ear.heard.length;
    const failure = new Error('roll back');
    const failing = libraryOf(name).transaction(async (transaction) => {
      await store.appendWithin!(transaction, [event('rolled back')]);
      throw failure;
    });
    await expect(failing).rejects.toThrow(/^roll back$/);
    await store.log.append([event('after')]);
    await waitFor(() => ear.heard.length > before, { timeoutMs: 20_000 });
    expect(dataFrom(before)).toEqual(['after']);
  });
});

it.each(WITH_SAVEPOINTS)('a savepoint of %s that is rolled back takes its events with it', async (name) => {
  const before = ear.heard.length;
  const { transaction, savepoint } = libraryOf(name);
  await transaction(async (outer) => {
    await store.appendWithin!(outer, [event('kept')]);
    const inner = savepoint!(outer, async (tx) => {
      await store.appendWithin!(tx, [event('undone')]);
      throw new Error('undo');
    });
    await expect(inner).rejects.toThrow('undo');
    await store.appendWithin!(outer, [event('kept, too')]);
  });
  await waitFor(() => ear.heard.length >= before + 2, { timeoutMs: 20_000 });
  expect(dataFrom(before)).toEqual(['kept', 'kept, too']);
});

it.each(NAMES.filter((name) => name !== 'a function'))(
  'what is no transaction of %s is refused',
  async (name) => {
    const before = (await store.log.head()).sequence;
    await expect(store.appendWithin!(libraryOf(name).outside, [event('x')])).rejects.toMatchObject({
      code: 'misuse',
      field: 'transaction',
    });
    expect((await store.log.head()).sequence).toBe(before);
  },
);
