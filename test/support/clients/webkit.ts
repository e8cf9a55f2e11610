import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { waitFor } from 'nestjs-event-stream/testing';
import { findPort } from '../servers/local-server.js';

/** Where distributions put the browser of WebKitGTK: `/usr/lib/x86_64-linux-gnu/webkit2gtk-4.1/MiniBrowser`. */
const LIBRARIES = '/usr/lib';
const START_MS = 60_000;

/** The distribution's WebKitGTK, on a virtual screen: it shows one page after another. */
export interface WebKit {
  /** Pages report by requests. */
  open(url: string): void;
  leave(): Promise<void>;
  close(): Promise<void>;
}

export async function startWebKit(): Promise<WebKit> {
  const home = mkdtempSync(join(tmpdir(), 'webkit-'));
  const screen = spawn('Xvfb', ['-displayfd', '1', '-nolisten', 'tcp'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const children: ChildProcess[] = [screen];
  const close = async () => {
    for (const child of children.toReversed()) {
      const ended = once(child, 'close');
      child.kill();
      await ended;
    }
    rmSync(home, { recursive: true, force: true, maxRetries: 5 });
  };
  try {
    await once(screen, 'spawn');
    const [display] = (await once(screen.stdout, 'data')) as [Buffer];
    const port = await findPort();
    const env = {
      ...process.env,
      HOME: home,
      DISPLAY: `:${display.toString().trim()}`,
      // A machine without a graphics card, and without a bus for accessibility.
      LIBGL_ALWAYS_SOFTWARE: '1',
      WEBKIT_DISABLE_COMPOSITING_MODE: '1',
      NO_AT_BRIDGE: '1',
    };
    const driver = spawn('WebKitWebDriver', [`--port=${port}`], { stdio: 'ignore', env });
    children.push(driver);
    await once(driver, 'spawn');
    const session = await beginSession(`http://127.0.0.1:${port}/session`);
    const goTo = (url: string) => post(`${session}/url`, { url });
    return {
      // It resolves once the page has loaded; a page reports before that. It rejects if the driver is closed meanwhile.
      open: (url) => void goTo(url).catch(() => undefined),
      leave: async () => void (await goTo('about:blank')),
      async close() {
        // A driver that has crashed has no session to end.
        await fetch(session, { method: 'DELETE' }).catch(() => undefined);
        await close();
      },
    };
  } catch (error) {
    await close();
    throw error;
  }
}

async function beginSession(url: string): Promise<string> {
  const options = { binary: findMiniBrowser(), args: ['--automation'] };
  const body = { capabilities: { alwaysMatch: { 'webkitgtk:browserOptions': options } } };
  let session: { sessionId: string } | undefined;
  // It rejects until the driver listens.
  await waitFor(async () => (session = await post(url, body).catch(() => undefined))?.sessionId, {
    timeoutMs: START_MS,
    describe: () => 'a session of WebKitWebDriver',
  });
  return `${url}/${session!.sessionId}`;
}

async function post(url: string, body: object): Promise<{ sessionId: string }> {
  const answer = await fetch(url, { method: 'POST', body: JSON.stringify(body) });
  return ((await answer.json()) as { value: { sessionId: string } }).value;
}

function findMiniBrowser(): string {
  const folders = [LIBRARIES, ...readdirSync(LIBRARIES).map((name) => join(LIBRARIES, name))];
  const versions = ['6.0', '4.1', '4.0'].flatMap((version) => [
    `webkitgtk-${version}`,
    `webkit2gtk-${version}`,
  ]);
  const files = folders.flatMap((folder) => versions.map((version) => join(folder, version, 'MiniBrowser')));
  const found = files.find((file) => existsSync(file));
  if (!found) {
    throw new Error('No MiniBrowser of WebKitGTK is here. Install webkit2gtk-driver.');
  }
  return found;
}
