import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { waitFor } from 'nestjs-event-stream/testing';
import { AppProcess, endProcesses } from '../../support/apps/app-process.js';
import { ask } from './client.js';
import { answersOf, comparable, isNest11, sseRows } from './table.js';
import type { Running } from './table.js';

// Sentry's package is for Nest 11 and earlier.
const tracers = isNest11 ? ['opentelemetry', 'sentry'] : ['opentelemetry'];
const names = [
  'events of all shapes',
  'a promise of events',
  'a guard that says yes',
  'a query that is refused',
  'a stream that fails later',
  'a stream that its client leaves',
];

describe.each(tracers)('under the instrumentation of %s', (tracer) => {
  let house: AppProcess;
  let pairs: { name: string; plain: Running; own: Running }[];

  beforeAll(async () => {
    house = await AppProcess.start(new URL('house.app.ts', import.meta.url), tracer);
    const running = await told<Running[]>('/houses');
    pairs = running
      .filter(({ withModule }) => withModule)
      .map((own) => ({
        name: `${own.platform}, ${own.order}`,
        own,
        plain: running.find(
          (app) => !app.withModule && app.platform === own.platform && app.order === own.order,
        )!,
      }));
  });

  afterAll(endProcesses);

  async function told<T>(path: string): Promise<T> {
    return (await (await fetch(house.base + path)).json()) as T;
  }

  async function spansOf({ port }: Running, request: string): Promise<string[]> {
    return (await told<{ spans: string[] }>(`/seen?port=${port}&request=${encodeURIComponent(request)}`))
      .spans;
  }

  it.each(sseRows.filter(({ name }) => names.includes(name)))(
    '$name: the answers and spans of plain Nest',
    async (row) => {
      for (const { name, plain, own } of pairs) {
        const [[expected], [received]] = await Promise.all([
          answersOf(plain, 'sse', row),
          answersOf(own, 'sse', row),
        ]);
        if (row.leaveAt === undefined) {
          expect([name, comparable(received!)]).toEqual([name, comparable(expected!)]);
        }
        let spans: string[][] = [];
        await waitFor(
          async () => {
            spans = await Promise.all([spansOf(plain, expected!.request), spansOf(own, received!.request)]);
            return spans[0]!.length > 1 && spans[0]!.join() === spans[1]!.join();
          },
          {
            timeoutMs: 5_000,
            describe: () => `${name}: the spans ${spans[1]!.join()} to be ${spans[0]!.join()}`,
          },
        );
      }
    },
  );

  it('routes are served by the module', async () => {
    for (const { own } of pairs) {
      for (const path of ['sse/events', 'module/generator', 'module/connection']) {
        const answer = await ask(own.port, { request: path, path: `/api/v1/${path}`, leaveAt: 1 });
        expect(answer).toMatchObject({ status: 200, ending: 'left' });
        expect(answer.text).toContain('retry: 3000\n');
      }
    }
  });

  it('nothing was thrown that nobody caught', async () => {
    expect(await told('/crashes')).toEqual([]);
  });
});
