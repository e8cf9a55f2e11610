import { describe, expect, it } from '@jest/globals';
import { runRunsChaos, zeros } from './chaos.js';
import type { RunsChaosReport } from './chaos.js';
import type { RunsGround } from './ground.js';
import { NatsRuns } from './nats.ground.js';
import { RedisRuns } from './redis.ground.js';
import { seedOf } from '../seed.js';

const minutes = process.env.CHAOS_MINUTES === undefined ? undefined : Number(process.env.CHAOS_MINUTES);
const seed = seedOf('CHAOS_SEED');
const historyFile = process.env.CHAOS_HISTORY;
// Half of the time that is given for each. Without it, as many runs as are asked for, and each fault once.
const seconds = minutes === undefined ? 0 : minutes * 30;
const deadlineMs = (seconds + 600) * 1_000;
const RUNS = 200;
const RUNS_ON_NATS = 100;
const SHOWN = 30;

interface Given {
  readonly runs: number;
  readonly withLogFaults: boolean;
  readonly ground: (instances: number) => Promise<RunsGround>;
}

async function run(title: string, given: Given): Promise<RunsChaosReport> {
  const report = await runRunsChaos({ seed, seconds, historyFile, ...given });
  const { faults, ...rest } = report;
  const shown = { ...rest, faults: faults.slice(0, SHOWN) };
  process.stderr.write(`${title}: ${JSON.stringify(shown, undefined, 2)}\n`);
  expect(faults).toEqual([]);
  expect(zeros(report.injected)).toEqual([]);
  // A path that was not taken proves nothing.
  expect(zeros(report.paths)).toEqual([]);
  return report;
}

const onRedis = (withLogFaults: boolean): Omit<Given, 'runs'> => ({
  withLogFaults,
  ground: (instances) => RedisRuns.start(instances, { isSynced: withLogFaults }),
});

describe(`runs of two instances that share a log on Redis, seed ${seed}`, () => {
  it(
    'reach every client whole and in order, or end with their format’s error, whatever happens to pages and instances',
    async () => {
      const { runs } = await run('Runs, and instances that fail', { runs: RUNS, ...onRedis(false) });
      expect(runs).toBeGreaterThanOrEqual(RUNS);
    },
    deadlineMs,
  );

  it(
    'do so too where Redis is restarted, cannot be reached, is written to by others, or gets an append late',
    async () => {
      const { runs } = await run('Runs, and a log that fails', { runs: RUNS, ...onRedis(true) });
      expect(runs).toBeGreaterThanOrEqual(RUNS);
    },
    deadlineMs,
  );
});

describe(`runs of two instances that share a log on NATS, seed ${seed}`, () => {
  it(
    'reach every client whole and in order, or end with their format’s error, whatever happens to all of them',
    async () => {
      const { runs } = await run('Runs on NATS', {
        runs: RUNS_ON_NATS,
        withLogFaults: true,
        ground: (instances) => NatsRuns.start(instances),
      });
      expect(runs).toBeGreaterThanOrEqual(RUNS_ON_NATS);
    },
    deadlineMs,
  );
});
