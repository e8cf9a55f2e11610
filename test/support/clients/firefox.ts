import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { waitFor } from 'nestjs-event-stream/testing';

/** Opens pages in the tabs of a headless Firefox without a driver: they run by themselves, and report by requests. */
export function openFirefox(...urls: string[]): { close(): Promise<void> } {
  const profile = mkdtempSync(join(tmpdir(), 'firefox-'));
  // It talks to the page alone.
  const preferences = {
    'browser.shell.checkDefaultBrowser': false,
    'datareporting.policy.dataSubmissionEnabled': false,
    'network.captive-portal-service.enabled': false,
    'network.connectivity-service.enabled': false,
    'app.update.enabled': false,
    'services.settings.server': 'http://127.0.0.1:1/',
    // A page may open others.
    'dom.disable_open_during_load': false,
  };
  const lines = Object.entries(preferences).map(
    ([name, value]) => `user_pref("${name}", ${JSON.stringify(value)});`,
  );
  writeFileSync(join(profile, 'user.js'), lines.join('\n'));
  const firefox = spawn(
    process.env['FIREFOX'] ?? 'firefox-esr',
    ['--headless', '--no-remote', '--profile', profile, ...urls],
    { stdio: 'ignore' },
  );
  const ended = once(firefox, 'close');
  // A machine without one fails by the deadline of what is awaited; this error would end the process.
  ended.catch(() => undefined);
  return {
    async close() {
      firefox.kill();
      // It rejects if there is no Firefox to end.
      await ended.catch(() => undefined);
      rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

const START_MS = 150_000;

/** Asks for the URL of the next page, and opens it in a tab in place of the one before. */
const OPENER = `<!doctype html><title>opener</title><link rel="icon" href="data:,"><script type="module">
for (let page; ; ) {
  const url = await (await fetch('/next')).text();
  page?.close();
  page = url ? open(url) : undefined;
}
</script>`;

/** A Firefox that shows one page after another, each in a tab of its own. */
export class FirefoxOfPages {
  readonly #server = createServer(({ url }, response) => {
    if (url === '/next') {
      this.#asking = response;
      this.#answer();
    } else {
      response.setHeader('content-type', 'text/html').end(OPENER);
    }
  });
  #firefox: { close(): Promise<void> } | undefined;
  #asking: ServerResponse | undefined;
  #next: string | undefined;

  static async start(): Promise<FirefoxOfPages> {
    const pages = new FirefoxOfPages();
    pages.#server.listen(0, '127.0.0.1');
    await once(pages.#server, 'listening');
    const { port } = pages.#server.address() as AddressInfo;
    pages.#firefox = openFirefox(`http://127.0.0.1:${port}/`);
    try {
      // On a busy machine Firefox takes a minute to start, which is not the time that a page has.
      await waitFor(() => pages.#asking !== undefined, {
        timeoutMs: START_MS,
        describe: () => 'Firefox to start',
      });
    } catch (error) {
      await pages.close();
      throw error;
    }
    return pages;
  }

  open(url: string): void {
    this.#next = url;
    this.#answer();
  }

  leave(): void {
    this.open('');
  }

  async close(): Promise<void> {
    await this.#firefox?.close();
    this.#server.close();
    this.#server.closeAllConnections();
  }

  #answer(): void {
    if (this.#next !== undefined) {
      this.#asking?.end(this.#next);
      this.#next = this.#asking ? undefined : this.#next;
      this.#asking = undefined;
    }
  }
}
