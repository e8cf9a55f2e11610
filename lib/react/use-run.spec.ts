/** @jest-environment ./test/support/page.environment.mjs */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createElement } from 'react';
import type { ReactNode } from 'react';
import { renderToString } from 'react-dom/server';
import { ReactPage } from '../../test/support/apps/react-page.js';
import { settled } from '../../test/support/clients/scripted-fetch.js';
import type { ScriptedStream } from '../../test/support/clients/scripted-fetch.js';
import { useRun } from './index.js';
import type { UseRunOptions, UseRunResult } from './index.js';

type Result = UseRunResult<string, string | undefined>;
type Options = UseRunOptions<string, string>;

const item = (n: number, text: string) => `id: r-${n}\ndata: ${JSON.stringify(text)}\n\n`;
const DONE = 'event: done\ndata: {}\n\n';
const text: Options = { initialData: '', reduce: (all, word) => all + word };

describe('useRun', () => {
  let page: ReactPage;
  let results: Result[];

  beforeEach(() => {
    page = new ReactPage();
    results = [];
  });
  afterEach(() => page.leave());

  const last = () => results.at(-1)!;
  function Answer({ id, options = text }: { id?: string | null; options?: Options }): ReactNode {
    const result = useRun<string, string>(
      {
        ...(id !== undefined && { id }),
        start: { url: (run) => `/chat/${run}`, body: 'none' },
        attach: (run) => `/chat/${run}/stream`,
        stop: (run) => `/chat/${run}`,
      },
      options,
    );
    results.push(result);
    return result.data ?? result.items.join('');
  }
  const answer = (id?: string | null, options?: Options) =>
    createElement(Answer, { ...(id !== undefined && { id }), ...(options && { options }) });

  it('starts a run, and renders its items once a frame until the last', async () => {
    const outcomes: unknown[] = [];
    await page.render(answer(undefined, { ...text, onEnd: (outcome) => outcomes.push(outcome) }));
    expect(last()).toMatchObject({ id: undefined, status: 'idle', isRunning: false, data: '' });
    const [stream] = page.streams(1) as [ScriptedStream];
    const id = last().start({ body: { question: 'Why?' } });
    await page.pass(16);
    expect(page.asked).toEqual([`POST /chat/${id}`]);
    expect(page.scripted.requests[0]!.body).toBe('{"question":"Why?"}');
    expect(last()).toMatchObject({ id, status: 'open', isRunning: true, outcome: undefined });
    const before = results.length;
    for (let n = 0; n < 1_000; n += 100) {
      stream.write(Array.from({ length: 100 }, (_, i) => item(n + i, 'a')).join(''));
      await settled();
    }
    await page.pass(16);
    expect(results).toHaveLength(before + 1);
    expect(page.text).toHaveLength(1_000);
    await page.write(stream, item(1_000, 'b') + DONE);
    expect(last()).toMatchObject({
      status: 'closed',
      isRunning: false,
      outcome: { reason: 'done' },
      items: [],
    });
    expect(page.text.endsWith('ab')).toBe(true);
    expect(outcomes).toEqual([{ reason: 'done' }]);
  });

  it('attaches to the run that it names, over one connection in StrictMode', async () => {
    const [stream] = page.streams(2) as [ScriptedStream];
    await page.render(answer('a'), { isStrict: true });
    await page.write(stream, item(1, 'so'));
    expect([page.asked, page.text, stream.isCanceled]).toEqual([['GET /chat/a/stream'], 'so', false]);
  });

  it('goes on with a run that it has started and then names, and leaves it for another', async () => {
    const [first] = page.streams(2) as [ScriptedStream];
    await page.render(answer());
    const id = last().start();
    await settled();
    await page.write(first, item(1, 'so'));
    await page.render(answer(id));
    expect([page.asked.length, page.text]).toEqual([1, 'so']);
    await page.render(answer('b'));
    await page.pass(16);
    expect(page.asked).toEqual([`POST /chat/${id}`, 'GET /chat/b/stream']);
    expect([page.text, last().id, first.isCanceled]).toEqual(['', 'b', true]);
    await page.render(answer(null));
    await page.pass(16);
    expect(last()).toMatchObject({ id: undefined, status: 'idle' });
  });

  it('stops the run, and keeps what has come', async () => {
    const [stream] = page.streams(1) as [ScriptedStream];
    await page.render(answer('a'));
    await page.write(stream, item(1, 'so'));
    page.scripted.answer(Response.json({}));
    expect(await last().stop()).toBe(true);
    await page.write(stream, 'event: error\ndata: {"message":"aborted","reason":"aborted"}\n\n');
    expect(page.asked).toEqual(['GET /chat/a/stream', 'DELETE /chat/a']);
    expect(last()).toMatchObject({ outcome: { reason: 'stopped' }, error: undefined, data: 'so' });
  });

  it('leaves the run when it unmounts, and stops nothing', async () => {
    const ends: unknown[] = [];
    const [stream] = page.streams(1) as [ScriptedStream];
    await page.render(answer('a', { ...text, onEnd: (outcome) => ends.push(outcome) }));
    await page.write(stream, item(1, 'so'));
    const before = results.length;
    const { start } = last();
    await page.unmount();
    expect([stream.isCanceled, page.asked]).toEqual([true, ['GET /chat/a/stream']]);
    expect([results.length, ends]).toEqual([before, []]);
    expect(() => start()).toThrow('start() was called after its component has unmounted.');
  });

  it('tells of a run that has failed, and of none', async () => {
    const [stream] = page.streams(1) as [ScriptedStream];
    await page.render(answer('a'));
    await page.write(stream, `${item(1, 'so')}event: error\ndata: {"message":"No more.","status":429}\n\n`);
    expect(last()).toMatchObject({
      status: 'closed',
      outcome: { reason: 'failed' },
      error: { code: 'run-failed', message: 'No more.', status: 429 },
      data: 'so',
    });
    page.scripted.answer(new Response(null, { status: 204 }));
    await page.render(answer('b'));
    await page.pass(16);
    expect(last()).toMatchObject({ outcome: { reason: 'none' }, error: undefined, data: '' });
  });

  it('keeps the newest items alone', async () => {
    const [stream] = page.streams(1) as [ScriptedStream];
    await page.render(answer('a', { maxItems: 2 }));
    await page.write(stream, [1, 2, 3, 4, 5].map((n) => item(n, String(n))).join(''));
    expect(page.text).toBe('45');
  });

  it('attaches to nothing on a server', () => {
    expect(renderToString(page.wrap(answer('a')))).toBe('');
    expect([page.asked, last().status]).toEqual([[], 'idle']);
  });
});
