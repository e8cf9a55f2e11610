import type { EventLogFactory } from 'nestjs-event-stream';
import { nats } from 'nestjs-event-stream/nats';
import { redis } from 'nestjs-event-stream/redis';

/** Short times, but a lease that instances of a busy machine keep. All instances have them. */
export const PRESENCE = { graceMs: 500, leaseMs: 4_000 };

export function logOf(engine: 'Redis' | 'NATS', port: number): EventLogFactory {
  return engine === 'Redis'
    ? redis({ url: `redis://127.0.0.1:${port}`, commandTimeoutMs: 1_000 })
    : nats({ servers: `127.0.0.1:${port}`, storage: 'memory', publishTimeoutMs: 1_000 });
}
