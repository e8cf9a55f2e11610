/** The soak that `npm run soak` starts, with its options in JSON. */
import { startRedis } from '../../support/servers/redis-server.js';
import { reportText, sampleLine } from './print.js';
import { isSound, runSoak } from './soak.js';

interface SoakCommand {
  readonly minutes: number;
  readonly log: 'memory' | 'redis';
  readonly rate: number;
  readonly seed: number;
  readonly leaks: boolean;
}

const { minutes, log, rate, seed, leaks } = JSON.parse(process.argv[2]!) as SoakCommand;
const SAMPLES = 120;
const LEAST_MS = 1_000;

const runMs = minutes * 60_000;
const samples = Math.min(SAMPLES, Math.floor(runMs / LEAST_MS));
const printed = Math.max(1, Math.floor(samples / 30));
let taken = 0;
const redis = log === 'redis' ? await startRedis() : undefined;
try {
  const shared = { leaks, ...(redis && { redisPort: redis.port }) };
  const report = await runSoak({
    instances: [
      { platform: 'express', ...shared },
      { platform: 'fastify', ...shared },
    ],
    rate,
    seed,
    samples,
    everyMs: runMs / samples,
    onSample: (instance, atMs, sample) => {
      if (Math.floor(taken / 2) % printed === 0) {
        console.log(sampleLine(instance, atMs, sample));
      }
      taken += 1;
    },
  });
  console.log(reportText(report));
  const sound = isSound(report);
  console.log(`\nSoak of ${minutes} min on ${log}, seed ${seed}: ${sound ? 'nothing grows' : 'NOT SOUND'}`);
  process.exitCode = sound ? 0 : 1;
} finally {
  await redis?.stop();
}
