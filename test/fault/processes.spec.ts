import { afterEach, describe, expect, it } from '@jest/globals';
import { waitFor } from 'nestjs-event-stream/testing';
import { AppProcess, endProcesses } from '../support/apps/app-process.js';
import { Crowd } from '../support/clients/crowd.js';
import { closeAll, open, platforms } from '../support/apps/platforms.js';
import { SequenceReader } from '../support/clients/sequence-reader.js';

const STREAMS = 1_000;
const EVENTS = 100_000;
const MB = 1_000_000;
/** Limit that tells a process that hangs from a busy machine. The benchmark measures how long it really takes. */
const PROMPT_MS = 20_000;

interface State {
  open: number;
  reasons: string[];
  uncaught: string[];
}

afterEach(async () => {
  await closeAll();
  await endProcesses();
});

describe.each(platforms)('a process of $name', ({ name, http2 }) => {
  const start = () => AppProcess.start(new URL('processes.app.ts', import.meta.url), name);

  async function ask<Answer = State>(app: AppProcess, path: string, timeoutMs?: number): Promise<Answer> {
    const answer = await open(app.base, path, { http2, timeoutMs });
    const body = await answer.body();
    await answer.close();
    return JSON.parse(body) as Answer;
  }

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
