import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { guideExample } from '../suites/guide-blocks.js';

// Within the repository: the example imports what is installed there.
const SCRATCH = fileURLToPath(new URL('../../.tmp/', import.meta.url));

describe("the guide's ask()", () => {
  let folder: string;
  let answers: RequestListener[];
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(`${request.method} ${String(request.headers['last-event-id'] ?? '-')}`);
    answers.shift()!(request, response);
  });

  beforeEach(async () => {
    asked.length = 0;
    await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
    await mkdir(SCRATCH, { recursive: true });
    folder = await mkdtemp(join(SCRATCH, 'ask-'));
  });
  afterEach(async () => {
    server.closeAllConnections();
    await new Promise((closed) => server.close(closed));
    await rm(folder, { recursive: true, force: true });
  });

  async function ask(): Promise<unknown[]> {
    const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const code = guideExample('async function* ask(').replaceAll(/(['`])\/api\/chat/g, `$1${base}/api/chat`);
    const file = join(folder, 'ask.mjs');
    await writeFile(file, `${code}\nexport { ask };\n`);
    const example = (await import(pathToFileURL(file).href)) as {
      ask: (chat: { id: string }) => AsyncIterable<unknown>;
    };
    const items: unknown[] = [];
    for await (const item of example.ask({ id: 'chat' })) {
      items.push(item);
    }
    return items;
  }

  const stream =
    (...frames: string[]): RequestListener =>
    (_request, response) => {
      response.writeHead(200, { 'Content-Type': 'text/event-stream' });
      response.write(frames.join(''));
    };
  const status =
    (code: number): RequestListener =>
    (_request, response) =>
      response.writeHead(code).end();

  it.each([502, 503, 504])('goes on after a proxy has answered %i', async (code) => {
    answers = [
      (request, response) => {
        stream('id: 1\ndata: "a"\n\n')(request, response);
        setImmediate(() => request.socket.end());
      },
      status(code),
      (request, response) => {
        stream('id: 2\ndata: "b"\n\n', 'id: 3\nevent: done\ndata: null\n\n')(request, response);
        response.end();
      },
    ];

    expect(await ask()).toEqual(['a', 'b']);
    expect(asked).toEqual(['POST -', 'GET 1', 'GET 1']);
  });

  it.each([403, 410])('ends at a %i', async (code) => {
    answers = [status(code)];

    await expect(ask()).rejects.toThrow(`HTTP ${code}`);
  });
});
