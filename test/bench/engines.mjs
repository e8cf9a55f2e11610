/** The engines whose logs are measured: their servers, an instance of an app, and a bare process beside it. */
import * as postgres from './postgres/server.mjs';
import { startServer, statOf, TICK_US } from './processes.mjs';
import { cpuOf, scriptsOf, startInstance, withRedis } from './redis/servers.mjs';

/**
 * @typedef {object} Engine
 * @property {string} name
 * @property {string} bareWay how an event goes from one bare process to another
 * @property {string} barePublish how a bare process publishes
 * @property {boolean} gathers whether what is published in one turn goes in one request
 * @property {<T>(load: (path: string) => Promise<any>, task: (server: any) => Promise<T>) => Promise<T>} withServer
 * @property {(server: any) => Promise<number>} cpuOf microseconds of the server, all threads
 * @property {(apps: any, server: any, layout: object) => Promise<any>} startInstance
 * @property {(apps: any, server: any, options: object) => Promise<any>} startBare with `load`, it publishes as the
 * package does, and reads without a look at what it has read
 * @property {number} [slowness] how many times fewer events are a round; 1 by default
 * @property {{ of: string, to: string, atMost: number }[]} [targets] in place of those that a script is held to
 */

/** @type {Engine} */
export const REDIS = {
  name: 'Redis',
  bareWay: 'from XADD to the answer of a blocked XREAD in another process',
  barePublish: 'the same script',
  gathers: true,
  withServer: withRedis,
  cpuOf,
  startInstance: (apps, redis, layout) => startInstance({ apps, redis, layout }),
  async startBare(apps, redis, { log, isReading, load }) {
    const digest = load && (await redis.command('SCRIPT', 'LOAD', (await scriptsOf(load)).APPEND.text));
    return startServer(apps[12].bareRedis, { port: redis.port, key: `{${log}}:events`, digest, isReading });
  },
};

/** @type {Engine} */
export const NATS = {
  name: 'NATS',
  bareWay: "from JetStream's publish to the callback of an ordered consumer in another process",
  barePublish: "JetStream's publish",
  gathers: false,
  async withServer(load, task) {
    const { startNats } = await load('nats-server.js');
    const nats = await startNats();
    try {
      return await task(nats);
    } finally {
      await nats.stop();
    }
  },
  async cpuOf({ pid }) {
    const fields = statOf(pid);
    return (Number(fields[11]) + Number(fields[12])) * TICK_US;
  },
  startInstance: (apps, nats, layout) =>
    startServer(apps[12].nest, {
      adapter: 'Fastify',
      module: true,
      routes: ['connect-follow'],
      nats: { servers: nats.url },
      ...layout,
    }),
  startBare: (apps, nats, { log, isReading }) =>
    startServer(apps[12].bareNats, { servers: nats.url, log, isReading }),
};

/** @type {Engine} */
export const POSTGRES = {
  name: 'PostgreSQL',
  bareWay: 'from INSERT and NOTIFY to the answer of a SELECT in another process',
  barePublish: 'INSERT and NOTIFY in one statement, by a pool of ten connections',
  gathers: true,
  // Each bare event waits for the disk.
  slowness: 5,
  targets: [{ of: 'ours flight', to: 'bare flight', atMost: 1 / 10 }],
  withServer: postgres.withPostgres,
  cpuOf: postgres.cpuOf,
  startInstance: postgres.startInstance,
  startBare: (apps, { url }, { log, isReading }) =>
    startServer(apps[12].barePostgres, { url, log, isReading, connections: 10 }),
};
