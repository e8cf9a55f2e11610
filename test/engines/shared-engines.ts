import type { EventLogFactory } from 'nestjs-event-stream';
import { nats } from 'nestjs-event-stream/nats';
import { redis } from 'nestjs-event-stream/redis';
import { startNats } from '../support/servers/nats-server.js';
import type { NatsServer } from '../support/servers/nats-server.js';
import { startRedis } from '../support/servers/redis-server.js';
import type { RedisServer } from '../support/servers/redis-server.js';
import { guideUserArguments, urlOfGuideUser } from './redis-guide-user.js';

export type EngineServer = RedisServer | NatsServer;

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
];
