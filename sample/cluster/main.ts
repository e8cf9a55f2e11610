/**
 * Runs the sample as several instances behind nginx, with one log on Redis or
 * on PostgreSQL:
 *
 *   npm run start:cluster -- --instances 3
 *   npm run start:cluster -- --log postgres
 *
 * REDIS_URL or POSTGRES_URL names one that runs; otherwise one is started, and
 * what it keeps is gone at the end. PORT and HOST say where nginx listens.
 */
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Fleet } from './fleet.js';
import { chooseLog } from './logs.js';
import { configureNginx } from './nginx.js';
import { findPort, isFree } from './ports.js';
import { findProgram } from './programs.js';

const NAMES = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ';
// The page has a button that kills processes: other machines had better not see it.
const { HOST: host = '127.0.0.1', PORT } = process.env;
const PARENT_LOOK_MS = 500;

const fleet = new Fleet();
endWith(fleet);

try {
  await start();
} catch (error) {
  if (!fleet.isEnding) {
    console.error((error as Error).message);
    process.exitCode = 1;
  }
  await fleet.end();
}

async function start(): Promise<void> {
  const { count, log } = readArguments();
  // Before anything is started, so that a missing program is reported at once.
  const nginx = findProgram('nginx');
  const startLog = chooseLog(log);
  const port = await choosePort();
  const folder = await fleet.makeFolder();

  const env = await startLog(fleet, folder);
  const instances = await Promise.all(
    Array.from({ length: count }, (_, index) =>
      startInstance(NAMES[index], env),
    ),
  );

  const configuration = await configureNginx(folder, {
    listen: `${host}:${port}`,
    instances,
  });
  await fleet.start({
    name: 'nginx',
    command: nginx,
    args: ['-p', folder, '-e', 'stderr', '-c', configuration],
    host,
    port,
  });
  console.log(`
Open http://localhost:${port}/dashboard.html, or /chat.html
Ctrl+C ends all of them.
`);
}

function readArguments(): { count: number; log: string } {
  const { values } = parseArgs({
    options: {
      instances: { type: 'string', default: '3' },
      log: { type: 'string', default: 'redis' },
    },
  });
  const count = Number(values.instances);
  if (!Number.isInteger(count) || count < 2 || count > NAMES.length) {
    throw new Error(
      `--instances must be a number from 2 to ${NAMES.length}, got ${values.instances}.`,
    );
  }
  return { count, log: values.log };
}

async function choosePort(): Promise<number> {
  if (!PORT) {
    return findPort();
  }
  if (await isFree(Number(PORT), host)) {
    return Number(PORT);
  }
  throw new Error(
    `Port ${PORT} is taken. Another one: PORT=8080 npm run start:cluster; without PORT a free one is found.`,
  );
}

async function startInstance(
  name: string,
  env: Record<string, string>,
): Promise<number> {
  const port = await findPort();
  await fleet.start({
    name,
    command: process.execPath,
    args: [fileURLToPath(new URL('../main.js', import.meta.url))],
    env: {
      INSTANCE: name,
      HOST: '127.0.0.1',
      PORT: String(port),
      ...env,
    },
    port,
  });
  return port;
}

function endWith(fleet: Fleet): void {
  // Under npm, Ctrl+C comes twice: from the terminal, and from npm. The first one counts.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => void fleet.end());
  }
  // Not every shell between npm and this process hands a signal on before it ends.
  if (process.env.npm_lifecycle_event) {
    const parent = process.ppid;
    setInterval(() => {
      if (process.ppid !== parent) {
        void fleet.end();
      }
    }, PARENT_LOOK_MS).unref();
  }
}
