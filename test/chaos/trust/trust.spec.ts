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
      const reports = await runTrustChaos({
        seed,
        processes: minutes > 0 ? 2 : 1,
        seconds: minutes * 60,
        historyFile: process.env.CHAOS_HISTORY,
      });
      const shown = reports.map((report) => ({ ...report, faults: kindsOf(report.faults) }));
      process.stderr.write(`Trust: ${JSON.stringify(shown, undefined, 2)}\n`);
      expect(Object.fromEntries(shown.map(({ engine, faults }) => [engine, faults]))).toEqual(
        Object.fromEntries(shown.map(({ engine }) => [engine, {}])),
      );
      // A path that was not taken proves nothing. While one log is away, it may be that nobody comes to it.
      expect(zeros(sumOf(reports.map(({ paths }) => paths)))).toEqual([]);
      expect(reports.flatMap(({ paths }) => zeros(taken(paths)))).toEqual([]);
    },
    (minutes * 60 + 600) * 1_000,
  );
});

function sumOf(counts: readonly Record<string, number>[]): Record<string, number> {
  const sum: Record<string, number> = {};
  for (const [name, times] of counts.flatMap((one) => Object.entries(one))) {
    sum[name] = (sum[name] ?? 0) + times;
  }
  return sum;
}

/** What each engine must have seen, however its faults fell. */
function taken(paths: Record<string, number>): Record<string, number> {
  const names = [
    'tickets that opened a stream',
    'tickets that were spent',
    'users admitted',
    'users refused',
  ];
  return Object.fromEntries(names.map((name) => [name, paths[name] ?? 0]));
}
