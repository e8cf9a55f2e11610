import { describe, expect, it } from '@jest/globals';
import { kindsOf, zeros } from '../report.js';
import { seedOf } from '../seed.js';
import { runTrustChaos } from './chaos.js';

const minutes = process.env.CHAOS_MINUTES === undefined ? 0 : Number(process.env.CHAOS_MINUTES);
const seed = seedOf('CHAOS_SEED');

describe(`instances that share tickets, revocations and presence on each engine, seed ${seed}`, () => {
  it(
    'open a ticket once, keep away who was revoked, and know who is there, whatever happens to log and processes',
    async () => {
      // A process takes seconds of CPU to start.
      const reports = await runTrustChaos({ seed, processes: minutes > 0 ? 2 : 1, seconds: minutes * 60 });
      const shown = reports.map((report) => ({ ...report, faults: kindsOf(report.faults) }));
      process.stderr.write(`Trust: ${JSON.stringify(shown, undefined, 2)}\n`);
      expect(Object.fromEntries(shown.map(({ engine, faults }) => [engine, faults]))).toEqual(
        Object.fromEntries(shown.map(({ engine }) => [engine, {}])),
      );
      // A path that was not taken proves nothing.
      expect(reports.flatMap(({ paths }) => zeros(paths))).toEqual([]);
    },
    (minutes * 60 + 600) * 1_000,
  );
});
