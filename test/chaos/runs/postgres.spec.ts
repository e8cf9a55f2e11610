import { describe, expect, it } from '@jest/globals';
import { seedOf } from '../seed.js';
import { runRunsChaos, zeros } from './chaos.js';
import { PostgresRuns } from './postgres.ground.js';

const minutes = process.env.CHAOS_MINUTES === undefined ? 0 : Number(process.env.CHAOS_MINUTES);
const seed = seedOf('CHAOS_SEED');
const seconds = minutes * 30;
const RUNS = 30;
/** Each call is a transaction: with more, a busy machine renews no lease in time. */
const USERS = 6;
const SHOWN = 30;

describe(`runs of two instances that share a log on PostgreSQL, seed ${seed}`, () => {
  it(
    'reach every client whole and in order, or end with their format’s error, whatever happens to all of them',
    async () => {
      const report = await runRunsChaos({
        seed,
        seconds,
        historyFile: process.env.CHAOS_HISTORY,
        runs: RUNS,
        users: USERS,
        withLogFaults: true,
        ground: (instances) => PostgresRuns.start(instances),
      });
      const { faults, ...rest } = report;
      const shown = { ...rest, faults: faults.slice(0, SHOWN) };
      process.stderr.write(`Runs on PostgreSQL: ${JSON.stringify(shown, undefined, 2)}\n`);
      expect(faults).toEqual([]);
      expect(zeros(report.injected)).toEqual([]);
      expect(report.runs).toBeGreaterThanOrEqual(RUNS);
    },
    (seconds + 600) * 1_000,
  );
});
