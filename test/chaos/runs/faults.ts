import { setTimeout as pause } from 'node:timers/promises';
import type { FaultProxy } from '../../support/faults/fault-proxy.js';
import type { Random } from '../../support/random.js';
import type { RunsInstance } from './runs-instance.js';

/** What a fault may do with the run of the test that it breaks into. */
export interface RunsStage {
  /** Those that pages are sent to, as they are now. */
  readonly serving: readonly RunsInstance[];
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

/**
 * Faults that bring an old copy of the logs back, by wish: `CHAOS_COPIES=yes`. Not all is held there yet: see
 * `npm run chaos -- --copies`.
 */
export function ifCopies(faults: Readonly<Record<string, RunsFault>>): Readonly<Record<string, RunsFault>> {
  return process.env.CHAOS_COPIES === 'yes' ? faults : {};
}

/** What happens on the way to the log. */
export function wayFaults(ways: readonly FaultProxy[]): Readonly<Record<string, RunsFault>> {
  return {
    'an instance loses its connections to the log': async (_stage, random) => {
      random.pick(ways).drop();
      await pause(100);
    },
    'an instance cannot reach the log for longer than its leases': async (_stage, random) => {
      const way = random.pick(ways);
      way.blackHole(random.pick(['to server', 'to client', 'both'] as const));
      await pause(random.between(1.3 * LEASE_MS, 2.5 * LEASE_MS));
      way.heal();
    },
  };
}

async function standStill({ serving }: RunsStage, random: Random, ms: number): Promise<void> {
  const instance = random.pick(serving);
  instance.pause();
  await pause(ms);
  instance.resume();
}
