import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { build } from 'esbuild';
import type { BuildOptions } from 'esbuild';
import { SseClient } from 'nestjs-event-stream/client';
import { waitFor } from 'nestjs-event-stream/testing';
import type { Browser, Page } from 'playwright-core';
import { AppProcess, endProcesses } from '../support/apps/app-process.js';
import { launchChromium } from '../support/clients/chromium.js';
import { FaultProxy } from '../support/faults/fault-proxy.js';
import { findPort } from '../support/servers/local-server.js';
import { startNginx } from '../support/servers/nginx.js';
import type { ProxyServer } from '../support/servers/proxy-server.js';
import { startRedis } from '../support/servers/redis-server.js';
import type { RedisServer } from '../support/servers/redis-server.js';

/** For how long the network goes away, in seconds: `AWAY_S=1,20,90 npm run jest -- …`. */
const AWAY_S = (process.env['AWAY_S'] ?? '1').split(',').map(Number);
const DEADLINE_MS = 60_000;
jest.setTimeout(4 * DEADLINE_MS + 2_000 * AWAY_S.reduce((sum, seconds) => sum + seconds, 0));

/** What a client has: the numbers of its state, and each that came after it. */
interface Held {
  numbers: number[];
  states: number;
  resets: number;
}

/** Follows the numbers. It runs in Node, and as it stands in Chromium. */
const FOLLOW = (client: SseClient, base: string, left?: AbortSignal): Held => {
  const held: Held = { numbers: [], states: 0, resets: 0 };
  const feed = client.follow<{ message: number }, number[]>(`${base}/events`, undefined, {
    state: async ({ signal }) => {
      const answer = await fetch(`${base}/state`, { signal });
      if (!answer.ok) {
        throw new Error(`${answer.status}`);
      }
      return (await answer.json()) as { data: number[]; at: string };
    },
    onState: (numbers) => {
      held.numbers = [...numbers];
      held.states += 1;
    },
    onReset: () => (held.resets += 1),
    signal: left,
  });
  feed.on('message', (n) => held.numbers.push(n));
  return held;
};

describe('the client on three instances with Redis behind nginx', () => {
  /** The app on the built package, without types to take away: it starts at once. */
  let folder: string;
  let redis: RedisServer;
  let nginx: ProxyServer;
  let network: FaultProxy;
  let ports: number[];
  let instances: AppProcess[];
  let browser: Browser;
  let page: Page;
  let inNode: Held;
  let published = 0;
  let publishing: ReturnType<typeof setInterval>;
  const leaving = new AbortController();
  let client: SseClient;

  const startInstance = (port: number) =>
    AppProcess.startBuilt(join(folder, 'app.mjs'), redis.url, String(port));

  beforeAll(async () => {
    folder = await mkdtemp(fileURLToPath(new URL('../../node_modules/.numbers-', import.meta.url)));
    await bundle({
      entryPoints: [fileURLToPath(new URL('numbers.app.ts', import.meta.url))],
      outfile: join(folder, 'app.mjs'),
      platform: 'node',
      packages: 'external',
    });
    redis = await startRedis();
    ports = await Promise.all([findPort(), findPort(), findPort()]);
    instances = await Promise.all(ports.map(startInstance));
    const servers = ports.slice(1).map((port) => `server 127.0.0.1:${port} max_fails=0;`);
    const block = `
      upstream app { server 127.0.0.1:3000; ${servers.join(' ')} }
      server {
        listen 80;
        location / {
          proxy_pass http://app;
          proxy_http_version 1.1;
          proxy_set_header Connection "";
          proxy_buffering off;
          proxy_connect_timeout 1s;
          proxy_read_timeout 3s;
        }
      }`;
    nginx = await startNginx({ block, originPort: ports[0]! });
    network = await FaultProxy.start(Number(new URL(nginx.url).port));
    const base = `http://127.0.0.1:${network.port}`;

    client = new SseClient({ baseUrl: base, retry: { minMs: 100 } });
    inNode = FOLLOW(client, base, leaving.signal);
    browser = await launchChromium();
    page = await browser.newPage();
    await page.goto(`${base}/page`);
    await page.addScriptTag({ type: 'module', content: await scriptOfPage() });

    // Beside the network that fails, and by whichever instance is there.
    publishing = setInterval(() => {
      published += 1;
      // A publish that an instance takes with it may fail: what counts is in the log.
      fetch(`${nginx.url}/publish?n=${published}`, { method: 'POST', signal: leaving.signal }).catch(
        () => undefined,
      );
    }, 20);
    await untilEqual();
  });
  afterAll(async () => {
    clearInterval(publishing);
    leaving.abort();
    await browser?.close();
    await endProcesses();
    await network?.stop();
    await nginx?.stop();
    await redis?.stop();
    await rm(folder, { recursive: true });
  });

  const inPage = () => page.evaluate<Held>('held');
  const logged = async () => {
    const answer = await fetch(`${nginx.url}/state`);
    return ((await answer.json()) as { data: number[] }).data;
  };

  /** Both have what the log has: each once, in its order, up to a number that was published after this call. */
  async function untilEqual(): Promise<void> {
    const mark = published + 3;
    await waitFor(() => published >= mark);
    // A publish whose instance was killed may be in the log or not: the log is what counts.
    let log: number[] = [];
    // An instance that is gone fails the request, which is tried again.
    await waitFor(async () => (log = await logged().catch(() => [])).length > 0 && log.at(-1)! >= mark, {
      timeoutMs: DEADLINE_MS,
    });
    const upTo = (numbers: number[]) => numbers.slice(0, log.length);
    for (const heldBy of [async () => inNode, inPage]) {
      await waitFor(async () => (await heldBy()).numbers.length >= log.length, {
        timeoutMs: DEADLINE_MS,
        describe: () => `${log.length} numbers`,
      });
      const { numbers, resets } = await heldBy();
      expect(upTo(numbers)).toEqual(log);
      expect(resets).toBe(0);
    }
  }

  const restart = async (killed: readonly number[]) => {
    const started = await Promise.all(killed.map((n) => startInstance(ports[n]!)));
    killed.forEach((n, at) => (instances[n] = started[at]!));
  };

  it('has what the log has, each once, though the instances that serve it are killed', async () => {
    await instances[0]!.end();
    await untilEqual();
    await instances[1]!.end();
    await untilEqual();
    await restart([0, 1]);
  });

  it('has it though the instance that serves it is deployed', async () => {
    instances[2]!.signal('SIGTERM');
    await instances[2]!.until(({ exitCode }) => exitCode !== undefined);
    await untilEqual();
    await restart([2]);
  });

  it('has it though each instance hangs for a while', async () => {
    for (const instance of instances) {
      instance.signal('SIGSTOP');
      await untilEqual();
      instance.signal('SIGCONT');
    }
    await untilEqual();
  });

  it('has it though all of them are gone at once', async () => {
    await Promise.all(instances.map((instance) => instance.end()));
    await restart([0, 1, 2]);
    await untilEqual();
  });

  it.each(AWAY_S)('has it after a network that was away for %d s', async (seconds) => {
    network.refuse();
    network.drop();
    await outageOf(seconds);
    await network.accept();
    await untilEqual();
  });

  it.each(AWAY_S)('has it after a network that swallowed all bytes for %d s', async (seconds) => {
    network.blackHole('both');
    await outageOf(seconds);
    network.heal();
    await untilEqual();
    expect((await inPage()).states).toBe(1);
    expect(inNode.states).toBe(1);
  });
});

/** The outage itself, which has a length and no end to wait for. */
function outageOf(seconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 1_000 * seconds));
}

async function scriptOfPage(): Promise<string> {
  const { outputFiles } = await bundle({
    stdin: {
      contents: `
        import { SseClient } from 'nestjs-event-stream/client';
        const follow = ${FOLLOW.toString()};
        globalThis.held = follow(new SseClient({ retry: { minMs: 100 } }), location.origin);`,
      resolveDir: fileURLToPath(new URL('.', import.meta.url)),
    },
    write: false,
  });
  return outputFiles![0]!.text;
}

function bundle(options: BuildOptions) {
  return build({
    bundle: true,
    format: 'esm',
    target: 'es2022',
    tsconfigRaw: { compilerOptions: { experimentalDecorators: true } },
    ...options,
  });
}
