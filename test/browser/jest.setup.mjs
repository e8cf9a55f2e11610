import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/**
 * Starts the sample once as the README says, which builds what the specs start: a build beside one that runs takes the
 * files away under its feet.
 */
export default async function startOnce() {
  // npm's own variables would make the npm inside act on the project of the npm outside, which runs these tests.
  const outer = Object.entries(process.env).filter(([name]) => !name.startsWith('npm_'));
  const npm = spawn('npm', ['start'], {
    cwd: ROOT,
    env: { ...Object.fromEntries(outer), NO_COLOR: '1', HOST: '127.0.0.1', PORT: '0' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const closed = once(npm, 'close');
  let output = '';
  let hasStarted = false;
  for (const stream of [npm.stdout, npm.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      output += text;
      if (!hasStarted && /Open http:\/\/localhost:\d+/.test(output)) {
        hasStarted = true;
        // Nest prints its process id: npm, and the shells it starts, do not hand every signal on.
        process.kill(Number(/\[Nest\] (\d+)/.exec(output)[1]), 'SIGTERM');
      }
    });
  }
  await closed;
  if (!hasStarted) {
    throw new Error(`npm start ended before it printed the address of the sample:\n${output}`);
  }
}
