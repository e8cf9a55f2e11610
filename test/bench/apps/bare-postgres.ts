/** The least that a log on PostgreSQL can cost in Node: INSERT and NOTIFY, and a reader that listens and selects. */
import { Client, Pool } from 'pg';
import { openBareStreams } from './bare-streams.js';
import { remotePublishing } from './publishing.js';
import { serve } from './serve.js';

interface Config {
  url: string;
  /** Names the table, which is there, and the channel. */
  log: string;
  /** Whether it reads the table, as each instance of an app does. */
  isReading?: boolean;
  /** How many it publishes by. With more than one a reader can miss an event: a lower id may be committed later. */
  connections: number;
}

const { url, log, isReading, connections } = JSON.parse(process.argv[2]!) as Config;
const pool = new Pool({ connectionString: url, max: connections });
const { take, ...streams } = await openBareStreams();
if (isReading) {
  await read();
}

serve({
  ...streams,
  ...remotePublishing((data) =>
    pool.query(
      `with event as (insert into ${log} (data) values ($1) returning id) select pg_notify('${log}', '') from event`,
      [JSON.stringify(data)],
    ),
  ),
  close: () => process.exit(),
});

/** Selects what is new whenever a notification comes; one that comes meanwhile is for the next time. */
async function read(): Promise<void> {
  const client = new Client({ connectionString: url });
  let last = '0';
  let isAsked = false;
  let isReading = false;
  client.on('notification', () => {
    isAsked = true;
    if (!isReading) {
      void select();
    }
  });
  await client.connect();
  await client.query(`listen ${log}`);

  async function select(): Promise<void> {
    isReading = true;
    while (isAsked) {
      isAsked = false;
      const text = `select id, data from ${log} where id > $1 order by id`;
      const { rows } = await client.query<{ id: string; data: string }>(text, [last]);
      for (const { id, data } of rows) {
        last = id;
        take(data, id);
      }
    }
    isReading = false;
  }
}
