import type { EventLogFactory } from 'nestjs-event-stream';
import { nats } from 'nestjs-event-stream/nats';
import { postgres } from 'nestjs-event-stream/postgres';
import { redis } from 'nestjs-event-stream/redis';
import { startNats } from '../support/servers/nats-server.js';
import { postgresUrl, startPostgres } from '../support/servers/postgres-server.js';
import { startRedis } from '../support/servers/redis-server.js';
import { guideUserArguments, urlOfGuideUser } from './redis-guide-user.js';

/** The server of an engine. It has kept nothing when it is restarted. */
export interface EngineServer {
  readonly port: number;
  kill(): Promise<void>;
  restart(): Promise<void>;
  stop(): Promise<void>;
}

/** Starts a PostgreSQL that keeps nothing over a restart, as the other engines of the specs. */
export async function startForgetfulPostgres(): Promise<EngineServer> {
  const server = await startPostgres();
  return {
    port: server.port,
    kill: () => server.kill(),
    restart: () => server.restartEmpty(),
    stop: () => server.stop(),
  };
}

/** An engine that several instances of an app share: its server, and their log at a port. */
interface SharedEngine {
  readonly name: string;
  start(): Promise<EngineServer>;
  log(port: number): EventLogFactory;
}

/** The engines, with short timeouts: specs take them away. */
export const sharedEngines: readonly SharedEngine[] = [
  {
    name: 'Redis',
    start: () => startRedis({ arguments: guideUserArguments }),
    log: (port) => redis({ url: urlOfGuideUser(port), commandTimeoutMs: 1_000 }),
  },
  {
    name: 'NATS',
    start: () => startNats(),
    log: (port) => nats({ servers: `127.0.0.1:${port}`, storage: 'memory', publishTimeoutMs: 1_000 }),
  },
  {
    name: 'PostgreSQL',
    start: startForgetfulPostgres,
    log: (port) => postgres({ url: postgresUrl(port), commandTimeoutMs: 1_000 }),
  },
];
