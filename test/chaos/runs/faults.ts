import { setTimeout as pause } from 'node:timers/promises';
import type { FaultProxy } from '../../support/faults/fault-proxy.js';
import type { Random } from '../../support/random.js';
import type { RedisServer } from '../../support/servers/redis-server.js';
import type { RunsInstance } from './runs-instance.js';

/** What a fault may do with the run of the test that it breaks into. */
export interface RunsStage {
  /** Those that pages are sent to, as they are now. */
  readonly serving: readonly RunsInstance[];
  readonly redis: RedisServer;
  /** The way of each instance to Redis. */
  readonly ways: readonly FaultProxy[];
  start(slot: number): Promise<RunsInstance>;
  /** As a deploy does. */
  close(instance: RunsInstance): Promise<void>;
}

export type RunsFault = (stage: RunsStage, random: Random) => Promise<void>;

export const LEASE_MS = 1_000;

/** What happens to the instances of an app. */
export const INSTANCE_FAULTS: Readonly<Record<string, RunsFault>> = {
  'an instance is killed': async (stage, random) => {
    const instance = random.pick(stage.serving);
    await instance.kill();
    await stage.start(instance.slot);
  },
  'an instance is closed': async (stage, random) => {
    const instance = random.pick(stage.serving);
    await stage.close(instance);
    await stage.start(instance.slot);
  },
  'an instance stands still for longer than its leases': (stage, random) =>
    // Others have to notice, too.
    standStill(stage, random, random.between(1.8 * LEASE_MS, 2.8 * LEASE_MS)),
  'an instance stands still for a moment': (stage, random) =>
    standStill(stage, random, random.between(0.2 * LEASE_MS, 0.6 * LEASE_MS)),
};

/** What happens to the log. */
export const LOG_FAULTS: Readonly<Record<string, RunsFault>> = {
  'Redis is restarted, and has kept all': async ({ redis }, random) => {
    await redis.kill();
    await pause(random.between(50, 300));
    await redis.restart();
  },
  'an instance loses its connections to Redis': async (stage, random) => {
    random.pick(stage.ways).drop();
    await pause(100);
  },
  'an instance cannot reach Redis for longer than its leases': async (stage, random) => {
    const way = random.pick(stage.ways);
    way.blackHole(random.pick(['to server', 'to client', 'both'] as const));
    await pause(random.between(1.3 * LEASE_MS, 2.5 * LEASE_MS));
    way.heal();
  },
};

async function standStill({ serving }: RunsStage, random: Random, ms: number): Promise<void> {
  const instance = random.pick(serving);
  instance.pause();
  await pause(ms);
  instance.resume();
}
