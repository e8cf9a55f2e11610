import { spawnSync } from 'node:child_process';
import { delimiter, join } from 'node:path';
import { chromium, type Browser } from 'playwright-core';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];

/**
 * The system's Chromium: `CHROMIUM` where it is set, else the first on the `PATH` that runs. A machine without one
 * fails here, by name: a browser suite that skips itself would look as green as one that ran.
 */
export function findChromium(): string {
  const named = process.env['CHROMIUM'];
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  const files =
    named === undefined ? NAMES.flatMap((name) => folders.map((folder) => join(folder, name))) : [named];
  // Asked to run: Ubuntu's chromium-browser is a stub that only says to install a snap.
  const found = files.find((file) => spawnSync(file, ['--version'], { stdio: 'ignore' }).status === 0);
  if (found === undefined) {
    throw new Error(
      `No Chromium runs here (tried ${named ?? NAMES.join(', ')}). Install one, or set CHROMIUM to its path.`,
    );
  }
  return found;
}

/**
 * A headless Chromium that talks to nobody but the pages it is given. The caller closes it.
 *
 * @param options.keepsPages - keep a page that was left for the back button, as Chromium does without a driver
 */
export function launchChromium({ keepsPages = false } = {}): Promise<Browser> {
  return chromium.launch({
    executablePath: findChromium(),
    headless: true,
    ignoreDefaultArgs: keepsPages ? ['--disable-back-forward-cache'] : [],
    // A container's root has no user namespaces for the sandbox, and its /dev/shm is often too small for a page.
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-dev-shm-usage',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
}
