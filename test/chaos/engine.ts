import { nats } from 'nestjs-event-stream/nats';
import { postgres } from 'nestjs-event-stream/postgres';
import { redis } from 'nestjs-event-stream/redis';
import { createClient } from './redis-clients.js';
import type { Engine as RedisEngine } from './redis-clients.js';

/** How an instance reaches what it shares with the others. */
export type Engine =
  | RedisEngine
  | { readonly kind: 'postgres'; readonly port: number }
  | {
      readonly kind: 'nats';
      readonly ports: readonly number[];
      readonly replicas: number;
      readonly maxEvents: number;
    };

/** The log of an instance, with deadlines that a run of some minutes sees pass. */
export function logOn(engine: Engine, { maxEvents }: { maxEvents: number }) {
  if (engine.kind === 'nats') {
    return nats({
      servers: engine.ports.map((port) => `127.0.0.1:${port}`),
      replicas: engine.replicas,
      // A stream has one limit, whichever version of the app looks at it.
      maxEvents: engine.maxEvents,
      requestTimeoutMs: 1_000,
      publishTimeoutMs: 2_000,
      startTimeoutMs: 20_000,
    });
  }
  const limits = { maxEvents, commandTimeoutMs: 1_000, publishTimeoutMs: 2_000 };
  return engine.kind === 'postgres'
    ? postgres({
        url: `postgres://postgres@127.0.0.1:${engine.port}/postgres`,
        startTimeoutMs: 20_000,
        ...limits,
      })
    : redis({ ...createClient(engine), ...limits });
}
