/** Short transactions of an app on PostgreSQL, with a publish in them and without. */
import type { INestApplication } from '@nestjs/common';
import { SseService } from 'nestjs-event-stream';
import { Pool } from 'pg';
import { remotePublishing } from './publishing.js';
import type { EventData } from './publishing.js';

/** Tables that the server has: see postgres/server.mjs. */
const ACCOUNTS = 1_000;
const CONNECTIONS = 16;

/** What is asked of an app whose log is on PostgreSQL, beside what is asked of every app. */
export function businessOf(app: INestApplication, url: string) {
  const sse = app.get(SseService, { strict: false });
  const pool = new Pool({ connectionString: url, max: CONNECTIONS });
  const transact = async (data: EventData, topic: number, isPublishing: boolean) => {
    const client = await pool.connect();
    try {
      const account = (data.n * 7_919) % ACCOUNTS;
      await client.query('begin');
      await client.query('update accounts set balance = balance + 1 where id = $1', [account]);
      await client.query('insert into entries (account, amount) values ($1, 1)', [account]);
      if (isPublishing) {
        await sse.publish(`topics.${topic}`, { data }, { transaction: client });
      }
      await client.query('commit');
    } finally {
      client.release();
    }
  };
  const publishing = remotePublishing((data, topic) => transact(data, topic, true));
  const silent = remotePublishing((data, topic) => transact(data, topic, false));
  return {
    transactSteadily: publishing.steadily,
    transactAndPublish: publishing.throughput,
    transact: silent.throughput,
  };
}
