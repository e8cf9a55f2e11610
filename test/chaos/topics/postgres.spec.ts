import { describe, expect, it } from '@jest/globals';
import { SinglePostgres } from '../postgres.ground.js';
import { kindsOf, zeros } from '../report.js';
import { seedOf } from '../seed.js';
import { runChaos } from './chaos.js';

const minutes = process.env.CHAOS_MINUTES === undefined ? 0 : Number(process.env.CHAOS_MINUTES);
const seed = seedOf('CHAOS_SEED');
const seconds = minutes * 30;
/** Without a time that is given: what loses data, once each. With it: all that can happen. */
const isLong = minutes > 0;

describe(`instances that share a log on PostgreSQL, seed ${seed}`, () => {
  it(
    'lose nothing in silence, whatever happens to the server, its data, its network, and themselves',
    async () => {
      const ground = () => SinglePostgres.start({ isLong });
      const crowd = isLong ? 1_000 : 0;
      const report = await runChaos({ seed, clients: 20, crowd, withFaults: true, seconds, ground });
      const { faults, ...rest } = report;
      process.stderr.write(
        `PostgreSQL: ${JSON.stringify({ ...rest, faults: kindsOf(faults) }, undefined, 2)}\n`,
      );
      expect(kindsOf(faults)).toEqual({});
      expect(zeros(report.injected)).toEqual([]);
      // A path that was not taken proves nothing. Which others are taken in a short run, a race decides.
      const { epoch = 0, trimmed = 0 } = report.resets;
      const { ring, log } = report.resumes;
      const { acknowledged } = report.published;
      expect(zeros({ ring, epoch, acknowledged, ...(isLong && { log, trimmed }) })).toEqual([]);
    },
    (seconds + 600) * 1_000,
  );
});
