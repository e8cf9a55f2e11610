/**
 * Runs the stress test for as long as you say.
 *
 *     npm run stress                                   25 s, and 10 s without faults, with a seed that it draws
 *     npm run stress -- --seconds 600 --seed 7         a seed makes each client and publisher choose the same again
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const { values } = parseArgs({ options: { seconds: { type: 'string' }, seed: { type: 'string' } } });
for (const [name, value] of Object.entries(values)) {
  if (!/^[1-9]\d*$/.test(value)) {
    console.error(`--${name} is a whole number above 0, got ${value}.`);
    process.exit(2);
  }
}

const { status } = spawnSync('npm', ['run', '-s', 'jest', '--', '--selectProjects', 'stress'], {
  cwd: fileURLToPath(new URL('../../..', import.meta.url)),
  env: {
    ...process.env,
    ...(values.seconds && { STRESS_SECONDS: values.seconds }),
    STRESS_SEED: values.seed ?? `${Date.now() % 1_000_000}`,
  },
  stdio: 'inherit',
});
process.exitCode = status ?? 1;
