import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { waitFor } from 'nestjs-event-stream/testing';
import { AppProcess, endProcesses } from '../../support/apps/app-process.js';
import { closeAll, open } from '../../support/apps/platforms.js';
import type { Seen } from './instrumented.app.js';

interface RunningApp {
  readonly platform: string;
  readonly port: number;
}

/** A stream as its client has seen it, and what the figures of the app have made of it. */
interface Measured {
  /** Seconds from the headers until the client has left. */
  readonly held: number;
  readonly http: number;
  readonly middleware: number;
  readonly seen: Seen;
}

// How long a stream is held at least: the clocks of two processes, and a pause of one, are less.
const LEAST_HELD_MS = 400;
/** A bound for what hangs. */
const patience = { timeoutMs: 60_000 };

describe('the figures of an app under usual instrumentations', () => {
  let house: AppProcess;
  let apps: RunningApp[];

  beforeAll(async () => {
    house = await AppProcess.start(new URL('instrumented.app.ts', import.meta.url));
    apps = await told<RunningApp[]>('/apps');
  }, 240_000);

  afterAll(async () => {
    await closeAll();
    await endProcesses();
  });

  async function told<T>(path: string): Promise<T> {
    const response = await fetch(house.base + path, { headers: { 'X-Test': 'asks' } });
    if (!response.ok) {
      throw new Error(`${path}: ${await response.text()}`);
    }
    return (await response.json()) as T;
  }

  const seenOf = ({ port }: RunningApp) => told<Seen>(`/seen?port=${port}`);

  /** Opens a stream, and stays much longer than it took until the headers. */
  async function measure(app: RunningApp, path: string): Promise<Measured> {
    await told('/forget');
    const before = await seenOf(app);
    const askedAt = performance.now();
    const stream = await open(`http://127.0.0.1:${app.port}`, path);
    const openedAt = performance.now();
    const leastMs = Math.max(LEAST_HELD_MS, 4 * (openedAt - askedAt));
    await waitFor(() => performance.now() - openedAt > leastMs, patience);
    const held = performance.now() - openedAt;
    await stream.close();
    let seen = before;
    await waitFor(async () => {
      seen = await seenOf(app);
      return seen.http.count > before.http.count && seen.middleware.count > before.middleware.count;
    }, patience);
    expect([seen.http.count - before.http.count, seen.middleware.count - before.middleware.count]).toEqual([
      1, 1,
    ]);
    return {
      held: held / 1_000,
      http: seen.http.seconds - before.http.seconds,
      middleware: seen.middleware.seconds - before.middleware.seconds,
      seen,
    };
  }

  it('have a stream as a request of its whole life, and after the recipes as one until its headers', async () => {
    expect(apps.map(({ platform }) => platform)).toEqual(['Express', 'Fastify']);
    const spansBefore: string[][] = [];
    for (const app of apps) {
      for (const path of ['/connect', '/sse']) {
        const { held, http, middleware, seen } = await measure(app, path);
        expect(http).toBeGreaterThan(held);
        expect(middleware).toBeGreaterThan(held);
        expect(seen.isStream).toBe(false);
        spansBefore.push(seen.spans);
      }
    }
    await told('/after');
    const spansAfter: string[][] = [];
    for (const app of apps) {
      for (const path of ['/connect', '/sse']) {
        const { held, http, middleware, seen } = await measure(app, path);
        expect(http).toBeLessThan(held);
        expect(middleware).toBeLessThan(held);
        expect(seen.isStream).toBe(true);
        spansAfter.push(seen.spans);
      }
    }
    // The spans of the request and of Nest are there, before and after.
    expect(spansAfter).toEqual(spansBefore);
    for (const spans of spansAfter) {
      expect(spans).toEqual(
        expect.arrayContaining([expect.stringMatching(/^GET/), expect.stringMatching(/^MeasuredRoutes\./)]),
      );
    }
  }, 240_000);
});
