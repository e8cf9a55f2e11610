/**
 * Runs the benchmarks, one after the other, and prints each one's table. See README.md beside it.
 *
 *   npm run bench                        all of them
 *   npm run bench -- --quick             all, with few runs: to see that they work, not to go by
 *   npm run bench -- closing memory      two of them
 */
import { loadavg, cpus, release, totalmem } from 'node:os';
import { mkdirSync, readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { installPackage, NEST } from '../support/installed-package.mjs';
import { endAll } from './processes.mjs';

const BENCHES = ['closing', 'memory', 'plain-route', 'fan-out'];
/** What the package is compared with. */
const OTHERS = ['better-sse', '@fastify/sse', 'fastify', 'fastify-sse-v2'];

const args = process.argv.slice(2);
const quick = args.includes('--quick');
const names = args.filter((arg) => arg !== '--quick');
const unknown = names.filter((name) => !BENCHES.includes(name));
if (unknown.length > 0) {
  console.error(`No such benchmark: ${unknown.join(', ')}. There are: ${BENCHES.join(', ')}.`);
  process.exit(2);
}

const folder = fileURLToPath(new URL('apps', import.meta.url));
const sources = readdirSync(folder).map((name) => join(folder, name));
const installed = { 11: installPackage({ major: 11, sources }), 12: installPackage({ major: 12, sources }) };
process.on('exit', () => Object.values(installed).forEach(({ remove }) => remove()));

const apps = Object.fromEntries(
  Object.entries(installed).map(([major, { folder }]) => {
    for (const name of OTHERS) linkDependency(name, folder);
    const app = (name) => join(folder, `${name}.js`);
    return [
      major,
      {
        nest: app('nest-app'),
        nodeHttp: app('node-http'),
        nodeFanOut: app('node-fan-out'),
        betterSse: app('better-sse'),
        fastifyPlugins: app('fastify-plugins'),
      },
    ];
  }),
);

const parts = [describeMachine()];
console.log(parts[0]);
for (const name of names.length > 0 ? names : BENCHES) {
  const { title, run } = await import(`./${name}.bench.mjs`);
  const begin = performance.now();
  const result = await run({ apps, quick, progress });
  const seconds = Math.round((performance.now() - begin) / 1_000);
  console.log(`\n## ${title}\n\n${result}\n\n(${seconds} s, load ${loadavg()[0].toFixed(1)} at the end)`);
}
endAll();

function describeMachine() {
  const [cpu] = cpus();
  const versions = [11, 12].map(
    (major) => JSON.parse(readFileSync(join(NEST[major], '@nestjs/core/package.json'), 'utf8')).version,
  );
  return [
    `${quick ? 'A quick run: the figures are no measurement.\n' : ''}Node ${process.versions.node}, Nest ${versions.join(' and ')},`,
    `${cpus().length} × ${cpu.model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GB, Linux ${release()},`,
    `load ${loadavg()[0].toFixed(1)} at the start, ${new Date().toISOString().slice(0, 10)}.`,
  ].join(' ');
}

function linkDependency(name, folder) {
  const link = join(folder, 'node_modules', name);
  mkdirSync(dirname(link), { recursive: true });
  symlinkSync(fileURLToPath(new URL(`../../node_modules/${name}`, import.meta.url)), link);
}

function progress(text) {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001B[K${text}`);
}
