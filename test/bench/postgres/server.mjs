/** PostgreSQL for a benchmark, with the tables of what is compared, and instances of an app whose log is there. */
import { readdirSync } from 'node:fs';
import { startServer, statOf, TICK_US } from '../processes.mjs';

/** Those of a server as it is installed: a commit waits for the disk. The tests' own go without. */
const SETTINGS = { fsync: 'on', shared_buffers: '128MB', max_connections: '100' };
const TABLES = `
  create table one (id bigint generated always as identity primary key, data text not null);
  create table two (like one including all);
  create table accounts (id int primary key, balance bigint not null);
  insert into accounts select n, 0 from generate_series(0, 999) as n;
  create table entries (id bigint generated always as identity primary key, account int not null, amount int not null)`;

/**
 * Runs a task with a PostgreSQL of its own.
 *
 * @template T
 * @param {(path: string) => Promise<any>} load
 * @param {(postgres: any) => Promise<T>} task
 * @returns {Promise<T>}
 */
export async function withPostgres(load, task) {
  const { startPostgres } = await load('postgres-server.js');
  const postgres = await startPostgres({ settings: SETTINGS });
  try {
    await postgres.query(TABLES);
    return await task(postgres);
  } finally {
    await postgres.stop();
  }
}

/**
 * An instance of an app whose log is on a PostgreSQL.
 *
 * @returns {Promise<any>}
 */
export function startInstance(apps, postgres, layout = {}) {
  return startServer(apps[12].nest, {
    adapter: 'Fastify',
    module: true,
    routes: ['connect-follow'],
    // On a machine that is busy, an instance is slow to start, and is to be measured all the same.
    postgres: { url: postgres.url, startTimeoutMs: 60_000, commandTimeoutMs: 10_000 },
    ...layout,
  });
}

/** CPU time of the server, all processes, in microseconds; also of those that have ended. */
export async function cpuOf({ pid }) {
  let ticks = 0;
  for (const name of readdirSync('/proc')) {
    const [state, parent, ...fields] = /^\d+$/.test(name) ? statOf(name) : [];
    if (state !== undefined && Number(parent) === pid) {
      ticks += Number(fields[9]) + Number(fields[10]);
    } else if (Number(name) === pid) {
      ticks += fields.slice(9, 13).reduce((sum, field) => sum + Number(field), 0);
    }
  }
  return ticks * TICK_US;
}
