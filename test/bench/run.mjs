/**
 * Runs the benchmarks, one after the other, and prints each one's table. See README.md beside it.
 *
 *   npm run bench                        all of them
 *   npm run bench -- --quick             all, with few runs: to see that they work, not to go by
 *   npm run bench -- closing memory      two of them
 *   npm run bench -- fan-out:1000,topics two items of one
 *   npm run bench -- --plot=growth.png   where the picture goes
 */
import { loadavg, cpus, release, totalmem } from 'node:os';
import { mkdirSync, readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { installPackage, NEST } from '../suites/installed-package.mjs';
import { endAll } from './processes.mjs';

const BENCHES = [
  'closing',
  'memory',
  'plain-route',
  'fan-out',
  'compression',
  'redis',
  'nats',
  'postgres',
  'runs',
  'client',
];
/** What the package is compared with. */
const OTHERS = [
  'better-sse',
  '@fastify/sse',
  'fastify',
  'fastify-sse-v2',
  'ioredis',
  '@nats-io/jetstream',
  '@nats-io/transport-node',
  'pg',
  'resumable-stream',
  'socket.io',
  '@socket.io/redis-streams-adapter',
];
/** Servers to start, and networks to break, which tests have, too. */
const SUPPORT = [
  'servers/local-server',
  'servers/redis-server',
  'servers/nats-server',
  'servers/postgres-server',
  'faults/fault-proxy',
  'faults/fault-link',
  'faults/other-clock',
  'random',
];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { quick: { type: 'boolean', default: false }, plot: { type: 'string' } },
});
const { quick } = values;
const chosen = [];
for (const argument of positionals.length > 0 ? positionals : BENCHES) {
  chosen.push(...(await choose(argument)));
}

const folder = fileURLToPath(new URL('apps', import.meta.url));
const sources = [
  ...readdirSync(folder).map((name) => join(folder, name)),
  ...SUPPORT.map((name) => fileURLToPath(new URL(`../support/${name}.ts`, import.meta.url))),
];
const installed = { 11: installPackage({ major: 11, sources }), 12: installPackage({ major: 12, sources }) };
process.on('exit', () => Object.values(installed).forEach(({ remove }) => remove()));

const apps = Object.fromEntries(
  Object.entries(installed).map(([major, { folder }]) => {
    for (const name of OTHERS) {
      linkDependency(name, folder);
    }
    const app = (name) => join(folder, `${name}.js`);
    return [
      major,
      {
        nest: app('nest-app'),
        nodeHttp: app('node-http'),
        nodeFanOut: app('node-fan-out'),
        betterSse: app('better-sse'),
        fastifyPlugins: app('fastify-plugins'),
        bareRedis: app('bare-redis'),
        bareNats: app('bare-nats'),
        barePostgres: app('bare-postgres'),
        losing: app('losing'),
        answers: app('answers'),
      },
    ];
  }),
);
/** A compiled file of ours, or of the package as it is built. */
const load = (path) => import(pathToFileURL(join(installed[12].folder, path)).href);

console.log(describeMachine());
const judged = [];
for (const { name, title, note, run } of chosen) {
  const begin = performance.now();
  const plot = resolve(values.plot ?? fileURLToPath(new URL(`out/${name}.png`, import.meta.url)));
  const result = await run({ apps, load, quick, plot, progress: (text) => progress(`${title}: ${text}`) });
  const { text, failed, judged: more = [] } = typeof result === 'string' ? { text: result } : result;
  judged.push(...more);
  if (failed) {
    process.exitCode = 1;
  }
  const seconds = Math.round((performance.now() - begin) / 1_000);
  const noted = note === undefined ? '' : `${note}\n\n`;
  console.log(
    `\n## ${title}\n\n${noted}${text}\n\n(${seconds} s, load ${loadavg()[0].toFixed(1)} at the end)`,
  );
}
if (judged.length > 0) {
  console.log(`\nTargets: ${countVerdicts(judged)}.`);
}
endAll();

/** A benchmark, or those of its items that are named after a colon. */
async function choose(argument) {
  const [name, list] = argument.split(':');
  if (!BENCHES.includes(name)) {
    refuse(`No such benchmark: ${name}. There are: ${BENCHES.join(', ')}.`);
  }
  const bench = await import(`./${name}.bench.mjs`);
  if (!bench.items) {
    return [{ ...bench, name }];
  }
  const names = list?.split(',') ?? Object.keys(bench.items);
  const unknown = names.find((item) => !bench.items[item]);
  if (unknown !== undefined) {
    refuse(`${name} has no ${unknown}. It has: ${Object.keys(bench.items).join(', ')}.`);
  }
  return names.map((item) => ({ ...bench.items[item], name, note: bench.note?.() }));
}

function refuse(message) {
  console.error(message);
  process.exit(2);
}

function countVerdicts(judged) {
  const count = (verdict) => judged.filter((one) => one.verdict === verdict).length;
  return `${count('met')} met, ${count('missed')} missed, ${count('open')} open`;
}

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
  if (process.stderr.isTTY) {
    process.stderr.write(`\r\u001B[K${text}`);
  }
}
