import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { afterEach, describe, expect, it } from '@jest/globals';
import { waitFor } from 'nestjs-event-stream/testing';
import type { OpenSseOptions } from 'nestjs-event-stream/testing';
import { AppProcess, endProcesses } from '../support/apps/app-process.js';
import { Crowd } from '../support/clients/crowd.js';
import { closeAll, open, platforms } from '../support/apps/platforms.js';
import { SequenceReader } from '../support/clients/sequence-reader.js';

const STREAMS = 1_000;
const EVENTS = 100_000;
const MB = 1_000_000;
/** Limit that tells a process that hangs from a busy machine. The benchmark measures how long it really takes. */
const PROMPT_MS = 20_000;

const HALF_OPEN = 10_000;
/** What a process may have open beside those. */
const OTHER_FILES = 200;
/** Below the backlog of a listening socket. */
const CONNECTS_AT_ONCE = 200;

interface State {
  open: number;
  reasons: string[];
  uncaught: string[];
}

afterEach(async () => {
  await closeAll();
  await endProcesses();
});

async function askOf<Answer>(app: AppProcess, path: string, options: OpenSseOptions): Promise<Answer> {
  const answer = await open(app.base, path, options);
  const body = await answer.body();
  await answer.close();
  return JSON.parse(body) as Answer;
}

describe.each(platforms)('a process of $name', ({ name, http2 }) => {
  const start = () => AppProcess.start(new URL('processes.app.ts', import.meta.url), name);

  const ask = <Answer = State>(app: AppProcess, path: string, timeoutMs?: number) =>
    askOf<Answer>(app, path, { http2, timeoutMs });

  /** Terminates the process, and returns how long it went on. */
  async function terminate(app: AppProcess): Promise<number> {
    const begin = performance.now();
    const answer = await open(app.base, '/terminate', { http2 });
    await app.until(({ exitCode }) => exitCode !== undefined);
    await answer.close();
    // Nest ends the process by the same signal, and so without an exit code.
    expect(app.exitCode).toBe(null);
    return performance.now() - begin;
  }

  it('sends 100,000 events of 1 KB past clients that do not read, for 20 MB at most', async () => {
    const app = await start();
    const stalled = await Promise.all(['/connect', '/sse'].map((path) => open(app.base, path, { http2 })));
    await Promise.all(stalled.map((stream) => stream.next()));
    stalled.forEach((stream) => stream.pause());
    const readers = await Promise.all(
      ['/connect?reads=1', '/sse?reads=1'].map((path) => SequenceReader.open(app.base, http2, path)),
    );
    const { grown, reasons, open: left } = await ask<State & { grown: number }>(app, '/send-all', 150_000);
    expect(grown).toBeLessThan(20 * MB);
    expect(reasons).toEqual(['slow', 'slow']);
    expect(left).toBe(2);
    // All of them arrive, and in order: a reader stops at the first that is out of order.
    for (const reader of readers) {
      await waitFor(() => reader.next === EVENTS, {
        timeoutMs: 30_000,
        describe: () => `event ${reader.next}`,
      });
      reader.close();
    }
    await waitFor(async () => (await ask(app, '/state')).open === 0, { timeoutMs: 15_000 });
    await terminate(app);
  }, 180_000);

  it('ends at SIGTERM with a thousand open streams, each with a retry of its own', async () => {
    const app = await start();
    const paths = Array.from({ length: STREAMS }, (_, n) => (n % 2 === 0 ? '/connect' : '/sse'));
    const crowd = await Crowd.open(app.base, http2, paths);
    expect(await ask(app, '/state')).toMatchObject({ open: STREAMS });
    expect(await terminate(app)).toBeLessThan(PROMPT_MS);
    await crowd.until(({ isComplete }) => isComplete);
    const retries = crowd.members.map((member) => member.retries.at(-1)!);
    expect(Math.min(...retries)).toBeLessThan(100);
    expect(Math.max(...retries)).toBeGreaterThan(4_900);
    expect(new Set(retries).size).toBeGreaterThan(STREAMS * 0.9);
    expect(app.output).toMatch(/^listening on \d+\n$/);
  });

  it('does not let the error of a listener reach other clients', async () => {
    const app = await start();
    const healthy = await open(app.base, '/sse', { http2 });
    const listeners = ['signal', 'closed'];
    const [leaving, staying] = await Promise.all(
      [0, 1].map(() =>
        Promise.all(listeners.map((listener) => open(app.base, `/careless?listener=${listener}`, { http2 }))),
      ),
    );
    await Promise.all([healthy, ...leaving!, ...staying!].map((stream) => stream.next()));
    for (const [n, stream] of leaving!.entries()) {
      await stream.close();
      await waitFor(async () => (await ask(app, '/state')).open === 4 - n, { timeoutMs: 15_000 });
    }
    expect(await ask(app, '/state')).toEqual({ open: 3, reasons: ['client', 'client'], uncaught: listeners });
    expect(healthy.ending).toBe(undefined);
    await terminate(app);
    expect(await healthy.ended).toBe('complete');
    expect(await Promise.all(staying!.map((stream) => stream.ended))).toEqual(['complete', 'complete']);
  });
});

/** The files that this process may open. Node has raised its limit as far as it may. */
function maxFiles(): number {
  const [, most] = /^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? [];
  return Number(most ?? Infinity);
}

// As many as there may be: a machine may allow fewer files.
const halfOpen = Math.min(HALF_OPEN, Math.max(CONNECTS_AT_ONCE, maxFiles() - OTHER_FILES));

describe(`${halfOpen} sockets with half a request`, () => {
  const sockets: Socket[] = [];
  afterEach(() => sockets.splice(0).forEach((socket) => socket.destroy()));

  it('take no place, cost some kB each, and streams go on beside them', async () => {
    const app = await AppProcess.start(new URL('processes.app.ts', import.meta.url), 'Express');
    const ask = <Answer>(path: string) => askOf<Answer>(app, path, { timeoutMs: 60_000 });
    const holds = () => ask<{ sockets: number; heap: number; rss: number }>('/holds');
    const stream = await open(app.base, '/sse');
    await stream.next();
    const before = await holds();

    while (sockets.length < halfOpen) {
      const some = Array.from({ length: CONNECTS_AT_ONCE }, () =>
        connect(Number(new URL(app.base).port), '127.0.0.1').on('error', () => undefined),
      );
      sockets.push(...some);
      await Promise.all(some.map((socket) => once(socket, 'connect')));
      some.forEach((socket) => socket.write('GET /sse HTTP/1.1\r\nHost: loc'));
      // Its answer says that the sockets before it are accepted, too.
      await ask('/state');
    }
    await waitFor(async () => (await holds()).sockets >= halfOpen, { timeoutMs: 60_000 });
    const after = await holds();
    const perSocket = (name: 'heap' | 'rss') => ((after[name] - before[name]) / halfOpen / 1_024).toFixed(1);
    process.stderr.write(
      `A socket with half a request: ${perSocket('heap')} kB of heap, ${perSocket('rss')} of RSS\n`,
    );
    expect(Number(perSocket('heap'))).toBeLessThan(20);

    const other = await open(app.base, '/sse', { timeoutMs: 60_000 });
    await other.next();
    expect((await ask<State>('/state')).open).toBe(2);
    await ask('/say');
    await Promise.all(
      [stream, other].map((each) => each.until(({ events }) => events.at(-1)?.data === 'said')),
    );

    sockets.splice(0).forEach((socket) => socket.destroy());
    await waitFor(async () => (await holds()).sockets < 10, { timeoutMs: 60_000 });
  }, 400_000);
});
