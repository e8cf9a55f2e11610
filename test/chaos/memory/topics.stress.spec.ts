import { describe, expect, it } from '@jest/globals';
import { RING_EVENTS } from './stress-server.js';
import { runStress } from './stress.js';
import type { StressReport } from './stress.js';
import { seedOf } from '../seed.js';

const seconds = Number(process.env.STRESS_SECONDS ?? 25);
const seed = seedOf('STRESS_SEED');
const clients = 300;
const deadlineMs = (seconds + 300) * 1_000;

const print = (title: string, { faults, ...report }: StressReport) =>
  process.stderr.write(
    `${title}: ${JSON.stringify({ ...report, faults: faults.slice(0, 20) }, undefined, 2)}\n`,
  );
const zeros = (counts: Record<string, number>) =>
  Object.entries(counts).flatMap(([name, times]) => (times > 0 ? [] : [name]));
const NOTHING = { connections: 0, followers: 0, deadlines: 0 };

describe(`topics under stress, seed ${seed}`, () => {
  it(
    'give every client exactly what its patterns match, or a reset where something is missing',
    async () => {
      const report = await runStress({ seed, seconds, clients, withFaults: true });
      print('With faults', report);

      expect(report.faults.slice(0, 20)).toEqual([]);
      expect(report.leftovers).toEqual(NOTHING);
      // A fault that was not injected, or a path that was not taken, proves nothing.
      const { resets, ...paths } = report.resumes;
      const { resets: told, ...got } = report.tally;
      const { slow = 0 } = report.ends;
      const counts = {
        ...report.injected,
        ...report.changes,
        ...report.blocks,
        ...paths,
        ...resets,
        ...got,
        slow,
      };
      expect(zeros(counts)).toEqual([]);
      expect(Object.keys(told).sort()).toEqual(Object.keys(resets).sort());
      expect(report.writes.direct / (report.writes.direct + report.writes.throughResponse)).toBeGreaterThan(
        0.99,
      );
    },
    deadlineMs,
  );

  it(
    'reset nobody where nothing goes wrong',
    async () => {
      const report = await runStress({ seed, seconds: Math.min(10, seconds), clients, withFaults: false });
      print('Control', report);

      expect(report.faults.slice(0, 20)).toEqual([]);
      expect(report.leftovers).toEqual(NOTHING);
      const { resets, ring, log } = report.resumes;
      expect({ ...resets, ring, log }).toEqual({
        trimmed: 0,
        diverged: 0,
        regressed: 0,
        epoch: 0,
        limit: 0,
        invalid: 0,
        ring: 0,
        log: 0,
      });
      // The ids of quiet clients, too, stay within the ring.
      expect(report.maxLag).toBeLessThan(RING_EVENTS);
      const { received, notes, states } = report.tally;
      expect(zeros({ ...report.changes, received, notes, states })).toEqual([]);
    },
    deadlineMs,
  );
});
