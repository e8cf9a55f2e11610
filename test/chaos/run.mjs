/**
 * Breaks a Redis, a NATS or a PostgreSQL, and the instances that share a log there, for as long as you say.
 *
 *     npm run chaos                                 each fault once, with a seed that it draws
 *     npm run chaos -- --minutes 30 --seed 7        a seed makes the same choices again
 *     npm run chaos -- --only runs                  runs alone (on Redis and NATS), or topics, nats (topics on NATS), trust
 *     npm run chaos -- --only postgres              topics and runs on PostgreSQL
 *     npm run chaos -- --kills traffic              NATS is killed while instances use it, not while they are cut off
 *     npm run chaos -- --copies                     old copies of the logs of runs come back, too
 *     npm run chaos -- --history FILE               all that happened, where something is wrong
 */
import { spawnSync } from 'node:child_process';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const SPECS = {
  runs: 'test/chaos/runs/runs.spec',
  topics: 'test/chaos/topics/chaos.spec',
  trust: 'test/chaos/trust/trust.spec',
  nats: 'test/chaos/topics/nats.spec',
  postgres: 'test/chaos/(topics|runs)/postgres.spec',
};

const { values } = parseArgs({
  options: {
    minutes: { type: 'string' },
    seed: { type: 'string' },
    only: { type: 'string' },
    kills: { type: 'string' },
    copies: { type: 'boolean' },
    history: { type: 'string' },
  },
});
for (const name of ['minutes', 'seed']) {
  if (values[name] !== undefined && !/^[1-9]\d*$/.test(values[name])) {
    console.error(`--${name} is a whole number above 0, got ${values[name]}.`);
    process.exit(2);
  }
}
if (values.only !== undefined && !Object.hasOwn(SPECS, values.only)) {
  console.error(`--only is one of ${Object.keys(SPECS).join(', ')}, got ${values.only}.`);
  process.exit(2);
}
if (values.kills !== undefined && values.kills !== 'traffic') {
  console.error(`--kills is traffic, got ${values.kills}.`);
  process.exit(2);
}

const specs = values.only === undefined ? [] : ['--testPathPatterns', SPECS[values.only]];
const { status } = spawnSync('npm', ['run', '-s', 'jest', '--', '--selectProjects', 'chaos', ...specs], {
  cwd: fileURLToPath(new URL('../..', import.meta.url)),
  env: {
    ...process.env,
    ...(values.minutes && { CHAOS_MINUTES: values.minutes }),
    CHAOS_SEED: values.seed ?? `${Date.now() % 1_000_000}`,
    ...(values.kills && { CHAOS_KILLS: values.kills }),
    ...(values.copies && { CHAOS_COPIES: 'yes' }),
    ...(values.history && { CHAOS_HISTORY: resolve(values.history) }),
  },
  stdio: 'inherit',
});
process.exitCode = status ?? 1;
