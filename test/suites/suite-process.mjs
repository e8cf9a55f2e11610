/** The processes that a suite needs: what it installs first, and jest itself. */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { npmCi } from './npm-ci.mjs';

// Debian keeps servers in sbin, which is not on an ordinary user's PATH.
const PATH = [process.env.PATH, '/usr/local/sbin', '/usr/sbin'].join(delimiter);
const CHROMIUMS = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];
// A run that has ended gets this long to let go of what it opened.
const EXIT_GRACE_MS = 15_000;
const SAY_MS = 1_000;
const LEFT_OPEN = /Jest did not exit|failed to exit gracefully/;

export function installSystemPackages(root, needs) {
  const programs = needs.filter((need) => need !== 'registry');
  if (programs.length === 0) {
    return;
  }
  const script = join(root, 'test/suites/install-system-packages.sh');
  spawnSync('bash', [script, ...new Set(programs)], { stdio: ['ignore', 'inherit', 'inherit'] });
}

export function missingNeeds(needs) {
  return needs.filter((need) => !isThere(need));
}

function isThere(need) {
  switch (need) {
    case 'registry':
      return runs('npm', ['ping', '--fetch-retries=1', '--fetch-timeout=10000']);
    case 'chromium': {
      const { CHROMIUM } = process.env;
      return (CHROMIUM === undefined ? CHROMIUMS : [CHROMIUM]).some((name) => runs(name, ['--version']));
    }
    case 'varnishd':
      return runs(need, ['-V']);
    // WebKitWebDriver has no way to ask for its version, and -v would start an Xvfb.
    case 'WebKitWebDriver':
      return runs(need, ['--help']);
    case 'Xvfb':
      return runs(need, ['-help']);
    // Debian keeps the programs of each version on no PATH.
    case 'postgres':
      return runs('bash', ['-c', 'command -v initdb || ls /usr/lib/postgresql/*/bin/initdb']);
    case 'caddy':
      return runs(need, ['version']);
    case 'prometheus':
      return runs(need, ['--version']);
    default:
      return runs(need, ['-v']);
  }
}

function runs(program, args) {
  return spawnSync(program, args, { stdio: 'ignore', env: { ...process.env, PATH } }).status === 0;
}

/** The path of another Node, from the lock file of test/node-versions; or why there is none. */
export async function findNode(root, major) {
  const folder = join(root, 'test/node-versions');
  const { version } = JSON.parse(readFileSync(join(folder, 'package-lock.json'), 'utf8')).packages[
    `node_modules/node-${major}`
  ];
  const binary = join(folder, `node_modules/node-${major}/bin/node`);
  const isThere = () =>
    existsSync(binary) &&
    spawnSync(binary, ['--version'], { encoding: 'utf8' }).stdout?.trim() === `v${version}`;
  if (isThere()) {
    return binary;
  }
  const { unavailable, failure } = await npmCi(folder);
  if (isThere()) {
    return binary;
  }
  return { unavailable: unavailable ?? failure ?? `Node ${version} does not run on this machine` };
}

/** Runs a module's `install(folder)`, which says `{ unavailable }` where the machine has no way to do it. */
export async function prepare(module, folder) {
  mkdirSync(folder, { recursive: true });
  try {
    const { install } = await import(pathToFileURL(module).href);
    return (await install(folder)) ?? {};
  } catch (error) {
    return { failure: `${module}: ${error.stack}` };
  }
}

/** @returns {Promise<{ code: number | null, report?: object, leftOpen?: boolean, timedOut?: boolean }>} */
export function runJest({ root, node, suite, env, report }) {
  const args = [
    '--experimental-vm-modules',
    '--no-warnings',
    '--import',
    './test/suites/say-what-is-open.mjs',
    'node_modules/jest/bin/jest.js',
    '--config',
    'test/jest.config.mjs',
  ];
  args.push('--selectProjects', suite.project, '--ci', '--json', '--outputFile', report);
  // One process for the suite's files: whatever one leaves open shows, because that process then does not end.
  args.push(...(suite.workers === undefined ? ['--runInBand'] : ['--maxWorkers', String(suite.workers)]));
  args.push(...(suite.only ?? []));

  return new Promise((resolve, reject) => {
    // A process group of its own: ending it ends the servers that its tests started, too.
    const child = spawn(node, args, {
      cwd: root,
      env: { ...process.env, ...env, PATH },
      stdio: ['ignore', 'ignore', 'pipe'],
      detached: true,
    });
    const outcome = { leftOpen: false, timedOut: false };
    const endAll = () => {
      try {
        process.kill(-Number(child.pid), 'SIGKILL');
      } catch (error) {
        if (error.code !== 'ESRCH') {
          throw error;
        }
      }
    };
    process.once('exit', endAll);

    const deadline = setTimeout(() => {
      outcome.timedOut = true;
      endAll();
    }, suite.minutes * 60_000);
    let grace;
    let tail = '';
    child.stderr.setEncoding('utf8').on('data', (text) => {
      process.stderr.write(text);
      tail = (tail + text).slice(-2_000);
      if (grace !== undefined || !LEFT_OPEN.test(tail)) {
        return;
      }
      grace = setTimeout(() => {
        outcome.leftOpen = true;
        child.kill('SIGUSR2');
        grace = setTimeout(endAll, SAY_MS);
      }, EXIT_GRACE_MS);
    });

    child.once('error', reject);
    child.once('close', (code) => {
      clearTimeout(deadline);
      clearTimeout(grace);
      process.removeListener('exit', endAll);
      endAll();
      resolve({
        ...outcome,
        code,
        report: existsSync(report) ? JSON.parse(readFileSync(report, 'utf8')) : undefined,
      });
    });
  });
}
