import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { openSse } from 'nestjs-event-stream/testing';
import { run } from '../suites/npm-ci.mjs';
import { startRedis } from '../support/servers/redis-server.js';
import type { RedisServer } from '../support/servers/redis-server.js';
import { NEST_VERSIONS, SCRATCH, tsc } from './scratch.js';

interface RunningApp {
  process: ChildProcess;
  url: string;
  testing: string[];
  document: { paths: Record<string, { get: object }>; components: { schemas: object } };
  output: () => string;
}

const running = new Set<ChildProcess>();

/** Starts the compiled app, and resolves with what it says when it listens. */
async function start(folder: string, adapter: string, env: object = {}): Promise<RunningApp> {
  // Node 22.12 speaks of each require() of an ES module.
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', 'main.js', adapter], {
    cwd: folder,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.add(child);
  let output = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (output += text));
  const gone = once(child, 'close').then(([code]) => {
    throw new Error(`${folder} ${adapter} ended with ${String(code)} before it listened:\n${output}`);
  });
  // On a busy machine a log that is away for a second while it starts is warned of first.
  const listening = new Promise<string>((resolve) => {
    createInterface(child.stdout).on('line', (line) => line.startsWith('{') && resolve(line));
  });
  const line = await Promise.race([listening, gone]);
  gone.catch(() => running.delete(child));
  return {
    ...(JSON.parse(line) as Pick<RunningApp, 'url' | 'testing' | 'document'>),
    process: child,
    output: () => output,
  };
}

/** Loads the inspector's page with all its modules, as a browser does. @returns the names of the modules */
async function loadInspector(url: string): Promise<string[]> {
  const page = await fetch(`${url}/internal/sse`);
  expect(page.headers.get('content-security-policy')).toContain("script-src 'self';");
  const html = await page.text();
  const [, main] = /<script type="module" src="([^"]+)">/.exec(html)!;
  const waiting = [new URL(main!, page.url).href];
  const loaded = new Set<string>();
  for (let at = waiting.pop(); at; at = waiting.pop()) {
    const answer = await fetch(at);
    expect([at, answer.status, answer.headers.get('content-type')]).toEqual([
      at,
      200,
      'text/javascript; charset=utf-8',
    ]);
    loaded.add(at);
    for (const [, next] of (await answer.text()).matchAll(/^(?:import|export) [^;]*?from '([^']+)';/gm)) {
      const address = new URL(next!, at).href;
      if (!loaded.has(address) && !waiting.includes(address)) {
        waiting.push(address);
      }
    }
  }
  return Array.from(loaded, (address) => address.slice(address.lastIndexOf('/') + 1));
}

let redis: RedisServer;

beforeAll(async () => {
  redis = await startRedis();
});
afterAll(async () => {
  await redis.stop();
  for (const child of running) {
    child.kill('SIGKILL');
  }
});

/** The client library that an app on this version has installed. */
const LIBRARIES: Record<string, string> = { 'nest-12.5.1': 'ioredis', 'nest-11.2.10': 'node-redis' };

describe.each(NEST_VERSIONS)('the packed tarball in an app on %s', (version) => {
  const library = LIBRARIES[version];
  describe.each(['esm', 'cjs'])('of %s', (type) => {
    const folder = join(SCRATCH, version, type);

    beforeAll(async () => {
      const { code, output } = await run(process.execPath, [tsc, '-p', folder], folder);
      expect({ code, output }).toEqual({ code: 0, output: '' });
    });

    it.each(['express', 'fastify'])(
      'serves both endpoint styles on %s, and ends when asked',
      async (adapter) => {
        const app = await start(folder, adapter);

        const byGet = await openSse(app.url, '/get', { lastEventId: '6' });
        const bySse = await openSse(app.url, '/sse');
        expect((await byGet.next()).data).toBe('{"style":"get","seen":"6"}');
        expect((await bySse.take(2)).map(({ data }) => data)).toEqual([
          '{"style":"sse","n":0}',
          '{"style":"sse","n":1}',
        ]);
        // Only our connection sends the module's retry: Nest alone would send none.
        expect([byGet.retries, bySse.retries]).toEqual([[2_500], [2_500]]);

        expect(await loadInspector(app.url)).toEqual(
          expect.arrayContaining(['main.js', 'sse-client.js', 'protocol.js']),
        );
        expect(Object.keys(app.document.paths)).not.toContain('/internal/sse');

        const identity = await fetch(`${app.url}/identity`);
        expect(await identity.json()).toEqual({ required: true, injected: true });
        expect(app.testing).toContain('openSse');
        expect(app.document.paths['/sse']!.get).toMatchObject({
          parameters: [{ name: 'Last-Event-ID' }, { name: 'lastEventId' }],
          responses: { 200: { content: { 'text/event-stream': { itemSchema: { title: 'message' } } } } },
        });
        expect(app.document.components.schemas).toHaveProperty('StyleDto');

        const closed = once(app.process, 'close');
        app.process.kill('SIGTERM');
        const [code, signal] = (await closed) as [number | null, string | null];
        expect({ code, signal, output: app.output() }).toEqual({ code: null, signal: 'SIGTERM', output: '' });
        await Promise.all([byGet.close(), bySse.close()]);
      },
    );

    const onRedis = library
      ? `shares a log on Redis, by ${library}`
      : 'says what is missing for a log on Redis';

    it.each([onRedis])('%s', async () => {
      const starting = start(folder, 'express', { REDIS_URL: redis.url });
      if (!library) {
        await expect(starting).rejects.toThrow(
          'neither ioredis nor redis is installed. Run: npm install ioredis',
        );
        return;
      }
      const app = await starting;
      const stream = await openSse(app.url, '/topics');
      const [, event] = await stream.take(2);
      expect(event).toMatchObject({
        data: '{"style":"topics"}',
        id: expect.stringMatching(/^\w+-\d+-\w{8}$/),
      });
      const closed = once(app.process, 'close');
      app.process.kill('SIGTERM');
      await closed;
      expect(app.output()).toBe('');
      await stream.close();
    });
  });

  it('is one module to import and to require, and resolves to nothing in this repository', async () => {
    const code = `
      import { createRequire } from 'node:module';
      import * as imported from 'nestjs-event-stream';
      import * as importedTesting from 'nestjs-event-stream/testing';
      import * as importedRedis from 'nestjs-event-stream/redis';
      import * as importedNats from 'nestjs-event-stream/nats';
      import * as importedPostgres from 'nestjs-event-stream/postgres';
      import * as importedClient from 'nestjs-event-stream/client';
      import * as importedTransport from 'nestjs-event-stream/ai-sdk';
      import * as importedSwagger from 'nestjs-event-stream/swagger';
      import * as importedInspector from 'nestjs-event-stream/inspector';
      const require = createRequire(import.meta.url);
      const names = (a) => Object.keys(a).filter((name) => !['default', '__esModule', 'module.exports'].includes(name));
      const differ = (a, b) => [...new Set([...names(a), ...names(b)])].filter((name) => a[name] !== b[name]);
      console.log(JSON.stringify({
        imported: [...names(imported), ...names(importedTesting)].length > 0,
        differ: [
          ...differ(imported, require('nestjs-event-stream')),
          ...differ(importedTesting, require('nestjs-event-stream/testing')),
          ...differ(importedRedis, require('nestjs-event-stream/redis')),
          ...differ(importedNats, require('nestjs-event-stream/nats')),
          ...differ(importedPostgres, require('nestjs-event-stream/postgres')),
          ...differ(importedClient, require('nestjs-event-stream/client')),
          ...differ(importedTransport, require('nestjs-event-stream/ai-sdk')),
          ...differ(importedSwagger, require('nestjs-event-stream/swagger')),
          ...differ(importedInspector, require('nestjs-event-stream/inspector')),
        ],
        path: import.meta.resolve('nestjs-event-stream'),
      }));`;
    const folder = join(SCRATCH, version);
    const flags = ['--disable-warning=ExperimentalWarning', '--input-type=module'];
    const { output } = await run(process.execPath, [...flags, '-e', code], folder);
    const path = pathToFileURL(join(folder, 'node_modules/nestjs-event-stream/dist/esm/index.js')).href;
    expect(JSON.parse(output)).toEqual({ imported: true, differ: [], path });
  });
});
