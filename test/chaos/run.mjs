/**
 * Breaks a Redis and the instances that share a log there, for as long as you say.
 *
 *     npm run chaos                                 each fault once, with a seed of its own
 *     npm run chaos -- --minutes 30 --seed 7        a seed makes the same choices again
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const { values } = parseArgs({ options: { minutes: { type: 'string' }, seed: { type: 'string' } } });
for (const [name, value] of Object.entries(values)) {
  if (!/^[1-9]\d*$/.test(value)) {
    console.error(`--${name} is a whole number above 0, got ${value}.`);
    process.exit(2);
  }
}

const { status } = spawnSync('npm', ['run', '-s', 'jest', '--', '--selectProjects', 'chaos'], {
  cwd: fileURLToPath(new URL('../..', import.meta.url)),
  env: {
    ...process.env,
    ...(values.minutes && { CHAOS_MINUTES: values.minutes }),
    ...(values.seed && { CHAOS_SEED: values.seed }),
  },
  stdio: 'inherit',
});
process.exitCode = status ?? 1;
