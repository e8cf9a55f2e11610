import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, describe } from '@jest/globals';
import { postgres } from 'nestjs-event-stream/postgres';
import { Pool } from 'pg';
import { eventLogContract } from './contract/event-log.contract.js';
import { startPostgres } from '../support/servers/postgres-server.js';
import type { PostgresServer } from '../support/servers/postgres-server.js';

describe('postgres() by a URL, and by a pool, as any log', () => {
  let server: PostgresServer;
  let pool: Pool;
  let count = 0;

  beforeAll(async () => {
    server = await startPostgres();
    pool = new Pool({ connectionString: server.url });
  });
  afterAll(async () => {
    await pool.end();
    await server.stop();
  });

  eventLogContract({
    start: async () => {
      // A log that no test has used.
      const log = `log-${(count += 1)}`;
      return { store: postgres({ url: server.url, log })(), peer: postgres({ pool, log })() };
    },
    held: () => server.query('select log, name, epoch, sequence from sse.logs order by log, name'),
    pass: async (ms) => {
      await wait(ms);
    },
    // A store that is asked for the first time opens a connection, which is a process of the server.
    ttlMs: 1_500,
    mostOfTen: 110,
  });
});
