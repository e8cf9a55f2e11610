import { describe, expect, it } from '@jest/globals';
import { runChaos } from './chaos.js';
import { SingleNats } from '../nats.ground.js';
import { kindsOf, zeros } from '../report.js';
import { seedOf } from '../seed.js';

const minutes = process.env.CHAOS_MINUTES === undefined ? 0 : Number(process.env.CHAOS_MINUTES);
const seed = seedOf('CHAOS_SEED');
const historyFile = process.env.CHAOS_HISTORY;
const options = { seed, clients: 40, crowd: minutes === 0 ? 300 : 2_000, historyFile };
const deadlineMs = (minutes * 60 + 600) * 1_000;

describe(`instances that share a log on NATS, seed ${seed}`, () => {
  it(
    'lose nothing in silence, whatever happens to the server, its files, its network, and themselves',
    async () => {
      const ground = () => SingleNats.start();
      const report = await runChaos({ ...options, withFaults: true, seconds: minutes * 60, ground });
      const { faults, ...rest } = report;
      process.stderr.write(`NATS: ${JSON.stringify({ ...rest, faults: kindsOf(faults) }, undefined, 2)}\n`);
      expect(kindsOf(faults)).toEqual({});
      expect(zeros(report.injected)).toEqual([]);
      // A path that was not taken proves nothing.
      const { epoch = 0, trimmed = 0, limit = 0 } = report.resets;
      const { acknowledged, unknown } = report.published;
      expect(zeros({ ...report.resumes, epoch, trimmed, limit, acknowledged, unknown })).toEqual([]);
    },
    deadlineMs,
  );

  it(
    'reset nobody where nothing goes wrong',
    async () => {
      const ground = () => SingleNats.start();
      const report = await runChaos({ ...options, withFaults: false, seconds: 5, ground });
      expect(kindsOf(report.faults)).toEqual({});
      expect([report.resets, report.branches]).toEqual([{}, 1]);
      const { refused, unknown, unresolved } = report.published;
      expect({ refused, unknown, unresolved }).toEqual({ refused: 0, unknown: 0, unresolved: 0 });
      expect(report.resumes.ring).toBeGreaterThan(0);
    },
    deadlineMs,
  );
});
