/**
 * Loads two instances with everything on, for as long as you say, and fails if something grows: memory, descriptors,
 * timers, listeners, the lag of the event loop or of followers. It also fails if anything is left when all clients have
 * left, if a client gets a wrong answer or none, or if an instance prints an error or does not end by itself.
 *
 *     npm run soak                              5 minutes, a log in memory for each instance
 *     npm run soak -- --minutes 60 --log redis  a log on Redis that both share; also: postgres
 *     npm run soak -- --rate 0.5                half of the load
 *     npm run soak -- --leaks                   with a planted leak, which must be found
 *
 * The longer it runs, the smaller is the leak that it finds.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '5' },
    log: { type: 'string', default: 'memory' },
    rate: { type: 'string', default: '1' },
    seed: { type: 'string', default: `${Date.now() % 1_000_000}` },
    leaks: { type: 'boolean', default: false },
  },
});
for (const name of ['minutes', 'rate', 'seed']) {
  if (!(Number(values[name]) > 0)) {
    console.error(`--${name} is a number above 0, got ${values[name]}.`);
    process.exit(2);
  }
}
if (!['memory', 'redis', 'postgres'].includes(values.log)) {
  console.error(`--log is memory, redis or postgres, got ${values.log}.`);
  process.exit(2);
}

const { minutes, rate, seed, ...rest } = values;
const command = { minutes: Number(minutes), rate: Number(rate), seed: Number(seed), ...rest };
const builder = fileURLToPath(new URL('../../support/apps/build-app.mjs', import.meta.url));
const main = fileURLToPath(new URL('main.ts', import.meta.url));
const nestCore = createRequire(import.meta.url).resolve('@nestjs/core');
const flags = ['--no-warnings', '--experimental-import-meta-resolve'];
const built = execFileSync(process.execPath, [...flags, builder, main, nestCore], {
  encoding: 'utf8',
}).trim();
const { status } = spawnSync(process.execPath, ['--no-warnings', built, JSON.stringify(command)], {
  cwd: fileURLToPath(new URL('../../..', import.meta.url)),
  stdio: 'inherit',
});
process.exitCode = status ?? 1;
