import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Builds once what the specs start: a build beside one that runs takes the files away under its feet. */
export default function build() {
  for (const args of [[], ['-w', 'sample']]) {
    execFileSync('npm', ['run', '-s', 'build', ...args], {
      cwd: ROOT,
      stdio: ['ignore', 'ignore', 'inherit'],
    });
  }
}
