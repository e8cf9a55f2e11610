import type { EventLogFactory } from 'nestjs-event-stream';
import { nats } from 'nestjs-event-stream/nats';
import { postgres } from 'nestjs-event-stream/postgres';
import { redis } from 'nestjs-event-stream/redis';

/** Short times, but a lease that instances of a busy machine keep. All instances have them. */
export const PRESENCE = { graceMs: 500, leaseMs: 4_000 };

export type EngineName = 'Redis' | 'NATS' | 'PostgreSQL';

export function logOf(engine: EngineName, port: number): EventLogFactory {
  switch (engine) {
    case 'Redis':
      return redis({ url: `redis://127.0.0.1:${port}`, commandTimeoutMs: 1_000 });
    case 'NATS':
      return nats({ servers: `127.0.0.1:${port}`, storage: 'memory', publishTimeoutMs: 1_000 });
    case 'PostgreSQL':
      return postgres({ url: `postgres://postgres@127.0.0.1:${port}/postgres`, commandTimeoutMs: 1_000 });
  }
}
