/** `npm ci` in a folder with a lock file of its own, told apart by why it failed. */
import { spawn } from 'node:child_process';

// What npm says where there is no registry to ask, or where it does not answer.
const UNREACHABLE =
  /\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH|ENOTCACHED|E50[0-9]|ERR_SOCKET_TIMEOUT)\b/;

/**
 * @param {string} folder
 * @returns {Promise<{ unavailable?: string, failure?: string }>} empty where it worked
 */
export async function npmCi(folder) {
  const { code, output } = await run(
    'npm',
    ['ci', '--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error'],
    folder,
  );
  if (code === 0) {
    return {};
  }
  if (UNREACHABLE.test(output)) {
    return { unavailable: `the npm registry cannot be reached (npm ci in ${folder})` };
  }
  return { failure: `npm ci in ${folder} exited with ${code}:\n${output}` };
}

/**
 * Runs a command to its end, which a deadline brings about where it must.
 *
 * @param {string} command
 * @param {string[]} args
 * @param {string} cwd
 * @param {{ env?: Record<string, string>, timeoutMs?: number }} [options]
 * @returns {Promise<{ code: number | null, output: string }>} what it printed: both streams, together
 */
export function run(command, args, cwd, { env = {}, timeoutMs = 300_000 } = {}) {
  return new Promise((resolve, reject) => {
    // npm's own npm_* variables would make a nested npm, or a build it starts, act on the outer project.
    const outer = Object.fromEntries(
      Object.entries(process.env).filter(([name]) => !name.startsWith('npm_')),
    );
    const child = spawn(command, args, {
      cwd,
      env: { ...outer, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: timeoutMs,
      killSignal: 'SIGKILL',
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => (output += text));
    }
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, output }));
  });
}
