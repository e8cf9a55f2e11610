/** The soak that `npm run soak` starts, with its options in JSON. */
import { endProcesses } from '../../support/apps/app-process.js';
import { startPostgres } from '../../support/servers/postgres-server.js';
import { startRedis } from '../../support/servers/redis-server.js';
import { reportText, sampleLine } from './print.js';
import { objectionsTo, runSoak } from './soak.js';
import type { SoakApp } from './soak.app.js';

interface SoakCommand {
  readonly minutes: number;
  readonly log: SoakApp['log'];
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
const server = await startServer();
try {
  const shared = { leaks, log, ...(server && { url: server.url }) };
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
  const objections = objectionsTo(report);
  const verdict = objections.length === 0 ? 'nothing grows' : `NOT SOUND: ${objections.join('; ')}`;
  console.log(`\nSoak of ${minutes} min on ${log}, seed ${seed}: ${verdict}`);
  process.exitCode = objections.length === 0 ? 0 : 1;
} finally {
  await endProcesses();
  await server?.stop();
}

async function startServer(): Promise<{ readonly url: string; stop(): Promise<void> } | undefined> {
  switch (log) {
    case 'redis':
      return startRedis();
    case 'postgres':
      return startPostgres();
    case 'memory':
      return undefined;
  }
}
