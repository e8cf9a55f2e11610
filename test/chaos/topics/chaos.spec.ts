import { describe, expect, it } from '@jest/globals';
import { runChaos } from './chaos.js';
import type { ChaosOptions, ChaosReport } from './chaos.js';
import { Cluster } from '../cluster.ground.js';
import { Sentinels } from '../sentinel.ground.js';
import { kindsOf, zeros } from '../report.js';
import { SingleServer } from '../single-server.ground.js';
import { seedOf } from '../seed.js';

const minutes = process.env.CHAOS_MINUTES === undefined ? undefined : Number(process.env.CHAOS_MINUTES);
const seed = seedOf('CHAOS_SEED');
// Of the time that is given, a server alone has most: it has most faults. Without it, each fault comes once.
const secondsOf = (share: number, least = 0) => (minutes === undefined ? least : minutes * 60 * share);
const historyFile = process.env.CHAOS_HISTORY;
const crowd = minutes === undefined ? 500 : 5_000;
const options = { seed, clients: 40, crowd, withFaults: true, historyFile };

async function run(title: string, given: ChaosOptions): Promise<ChaosReport> {
  const report = await runChaos(given);
  print(title, report);
  expect(kindsOf(report.faults)).toEqual({});
  expect(zeros(report.injected)).toEqual([]);
  return report;
}

const print = (title: string, { faults, ...report }: ChaosReport) =>
  process.stderr.write(`${title}: ${JSON.stringify({ ...report, faults: kindsOf(faults) }, undefined, 2)}\n`);

const deadlineMs = (share: number) => (secondsOf(share) + 600) * 1_000;

describe(`instances that share a log on Redis, seed ${seed}`, () => {
  it(
    'lose nothing in silence, whatever happens to a server, its network, and themselves',
    async () => {
      const ground = () => SingleServer.start();
      const { resumes, resets, published } = await run('One server', {
        ...options,
        seconds: secondsOf(0.8),
        ground,
      });
      // A path that was not taken proves nothing.
      const { epoch = 0, diverged = 0, regressed = 0, trimmed = 0, limit = 0, invalid = 0 } = resets;
      // Which of the two it is depends on how many events came before anybody looked.
      const reasons = { epoch, lost: diverged + regressed, trimmed, limit, invalid };
      const { acknowledged, refused, unknown } = published;
      expect(zeros({ ...resumes, ...reasons, acknowledged, refused, unknown })).toEqual([]);
    },
    deadlineMs(0.8),
  );

  it(
    'go on where Sentinels promote a replica, whatever it holds, and whatever the old master does',
    async () => {
      const ground = () => Sentinels.start();
      const { resumes, resets } = await run('Sentinels', { ...options, seconds: secondsOf(0.1), ground });
      expect(resumes.ring).toBeGreaterThan(0);
      const { epoch = 0 } = resets;
      expect(epoch).toBeGreaterThan(0);
    },
    deadlineMs(0.1),
  );

  it(
    'go on where a cluster moves the log, with all of it',
    async () => {
      const ground = () => Cluster.start();
      const { resumes, resets, branches } = await run('Cluster', {
        ...options,
        seconds: secondsOf(0.1, 4),
        ground,
      });
      expect(resumes.ring).toBeGreaterThan(0);
      expect(branches).toBe(1);
      const { invalid: _forged, limit: _away, ...others } = resets;
      expect(others).toEqual({});
    },
    deadlineMs(0.1),
  );

  it(
    'go on where what a cluster has comes back from before a loss, or is written to by others',
    async () => {
      const ground = () => Cluster.start({ withLosses: true });
      const { resets } = await run('Cluster, with losses', {
        ...options,
        seconds: secondsOf(0.1),
        ground,
      });
      const { epoch = 0 } = resets;
      expect(epoch).toBeGreaterThan(0);
    },
    deadlineMs(0.1),
  );

  it(
    'reset nobody where nothing goes wrong',
    async () => {
      const ground = () => SingleServer.start();
      const given = { ...options, withFaults: false, seconds: 5, ground };
      const report = await runChaos(given);
      print('Control', report);
      expect(kindsOf(report.faults)).toEqual({});
      expect(report.resets).toEqual({});
      expect(report.branches).toBe(1);
      const { refused, unknown, unresolved } = report.published;
      expect({ refused, unknown, unresolved }).toEqual({ refused: 0, unknown: 0, unresolved: 0 });
      expect(report.resumes.ring).toBeGreaterThan(0);
    },
    deadlineMs(0),
  );
});
