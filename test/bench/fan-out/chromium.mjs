import { spawnSync } from 'node:child_process';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];

/** The system's Chromium, or undefined where none runs. */
export function findChromium() {
  const named = process.env.CHROMIUM;
  const runs = (file) => spawnSync(file, ['--version'], { stdio: 'ignore' }).status === 0;
  const found = (named === undefined ? NAMES : [named]).find(runs);
  return found && pathOf(found);
}

/** What launches it takes no name to be looked up. */
function pathOf(command) {
  if (command.includes('/')) {
    return command;
  }
  return spawnSync('sh', ['-c', `command -v ${command}`], { encoding: 'utf8' }).stdout.trim();
}
