import { describe, expect, it } from '@jest/globals';
import { runStress } from './stress.js';
import type { StressReport } from './stress.js';

const seconds = Number(process.env.STRESS_SECONDS ?? 20);
const seed = Number(process.env.STRESS_SEED ?? Date.now() % 1_000_000);
const deadlineMs = (seconds + 120) * 1_000;

const FAULTS = [
  'drop',
  'forged: cut',
  'forged: diverged',
  'forged: epoch',
  'forged: invalid',
  'forged: regressed',
  'stall',
];

const print = (title: string, { faults, ...report }: StressReport) =>
  process.stdout.write(
    `${title}: ${JSON.stringify({ ...report, faults: faults.slice(0, 20) }, undefined, 2)}\n`,
  );

describe('topics under stress', () => {
  it.each([
    { reason: 'trimmed' as const, maxReplayEvents: 100_000 },
    { reason: 'limit' as const, maxReplayEvents: 1_000 },
  ])(
    'give every client exactly what its patterns match, or a reset where something is missing ($reason)',
    async ({ reason, maxReplayEvents }) => {
      const report = await runStress({ seed, seconds, clients: 100, maxReplayEvents, withFaults: true });
      print('With faults', report);

      expect(report.faults).toEqual([]);
      expect(report.leftovers).toEqual({ connections: 0, followers: 0, deadlines: 0 });
      // A fault that was not injected, or a path that was not taken, proves nothing.
      expect(Object.keys(report.injected).sort()).toEqual(FAULTS);
      const { ring, log, resets } = report.resumes;
      const { diverged, regressed, epoch, invalid } = resets;
      const paths = { ring, log, diverged, regressed, epoch, invalid, [reason]: resets[reason] };
      expect(Object.entries(paths).filter(([, times]) => times === 0)).toEqual([]);
    },
    deadlineMs,
  );

  it(
    'reset nobody where nothing goes wrong',
    async () => {
      const report = await runStress({
        seed,
        seconds: Math.min(10, seconds),
        clients: 50,
        maxReplayEvents: 100_000,
        withFaults: false,
      });
      print('Control', report);

      expect(report.faults).toEqual([]);
      expect(Object.values(report.resumes.resets)).toEqual([0, 0, 0, 0, 0, 0]);
    },
    deadlineMs,
  );
});
