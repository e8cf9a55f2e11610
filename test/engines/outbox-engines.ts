import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { EventLogFactory } from 'nestjs-event-stream';
import { nats } from 'nestjs-event-stream/nats';
import { redis } from 'nestjs-event-stream/redis';
import { startNatsIn } from '../support/servers/nats-server.js';
import { startRedis } from '../support/servers/redis-server.js';
import { guideUserArguments, urlOfGuideUser } from './redis-guide-user.js';
import type { EngineServer } from './shared-engines.js';

/** A server that can fall back to an older state. */
export interface RevertibleServer {
  readonly server: EngineServer;
  /** Keeps the state. */
  keep(): Promise<void>;
  /** Falls back to the state that was kept. */
  restore(): Promise<void>;
  stop(): Promise<void>;
}

/** An engine that events are relayed to. */
interface OutboxEngine {
  readonly name: 'Redis' | 'NATS';
  start(): Promise<RevertibleServer>;
  /** @param name - of the log: each test has one of its own */
  log(port: number, name: string): EventLogFactory;
}

/** The engines that take an outbox. */
export const outboxEngines: readonly OutboxEngine[] = [
  {
    name: 'Redis',
    start: async () => {
      const server = await startRedis({ arguments: guideUserArguments });
      return {
        server,
        keep: () => server.saveDump(),
        restore: () => server.restoreDump(),
        stop: () => server.stop(),
      };
    },
    log: (port, name) => redis({ url: urlOfGuideUser(port), log: name, startTimeoutMs: 50_000 }),
  },
  {
    name: 'NATS',
    start: async () => {
      const folder = await mkdtemp(join(tmpdir(), 'nats-files-'));
      const { server, ...rest } = await startNatsIn(folder);
      const stop = async () => {
        await server.stop();
        await rm(folder, { recursive: true, force: true });
      };
      return { server, ...rest, stop };
    },
    log: (port, name) =>
      nats({
        servers: `127.0.0.1:${port}`,
        log: name,
        startTimeoutMs: 50_000,
        requestTimeoutMs: 5_000,
      }),
  },
];
