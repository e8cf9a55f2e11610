import { describe, expect, it } from '@jest/globals';
import { runStress } from './stress.js';
import type { StressReport } from './stress.js';

const seconds = Number(process.env.STRESS_SECONDS ?? 20);
const seed = Number(process.env.STRESS_SEED ?? Date.now() % 1_000_000);

const print = (title: string, { faults, ...report }: StressReport) =>
  process.stdout.write(
    `${title}: ${JSON.stringify({ ...report, faults: faults.slice(0, 20) }, undefined, 2)}\n`,
  );

describe('topics under stress', () => {
  it(
    'gives every client exactly what its patterns match, or a reset where something is missing',
    async () => {
      const report = await runStress({ seed, seconds, clients: 100, withFaults: true });
      print('With faults', report);

      expect(report.faults).toEqual([]);
      expect(report.leftovers).toEqual({ connections: 0, followers: 0, deadlines: 0 });
      // A fault that was not injected, or a path that was not taken, proves nothing.
      expect(Object.keys(report.injected).sort()).toEqual([
        'drop',
        'forged: cut',
        'forged: diverged',
        'forged: epoch',
        'forged: invalid',
        'forged: regressed',
        'stall',
      ]);
      const { ring, log, resets } = report.resumes;
      expect(Object.entries({ ring, log, ...resets }).filter(([, times]) => times === 0)).toEqual([]);
    },
    (seconds + 120) * 1_000,
  );

  it('resets nobody where nothing goes wrong', async () => {
    const report = await runStress({ seed, seconds: Math.min(10, seconds), clients: 50, withFaults: false });
    print('Control', report);

    expect(report.faults).toEqual([]);
    expect(Object.values(report.resumes.resets)).toEqual([0, 0, 0, 0, 0, 0]);
  }, 120_000);
});
