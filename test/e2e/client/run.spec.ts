import { HttpException } from '@nestjs/common';
import { afterEach, describe, expect, it } from '@jest/globals';
import { SseClient } from 'nestjs-event-stream/client';
import type { RunFormat, RunOptions, RunTarget, SseClientOptions } from 'nestjs-event-stream/client';
import { waitFor } from 'nestjs-event-stream/testing';
import { ConnectionRegistry } from '../../../lib/connection/index.js';
import { baseOf, closeAll, platforms } from '../../support/apps/platforms.js';
import { cutConnections } from '../../support/faults/cut-connections.js';
import { createRunsApp } from '../runs/runs-app.js';
import type { RunsApp } from '../runs/runs-app.js';

describe.each(platforms.filter(({ http2 }) => !http2))('an answer, on $name', (platform) => {
  const answers: { leave(): void }[] = [];
  afterEach(async () => {
    answers.splice(0).forEach((answer) => answer.leave());
    await closeAll();
  });

  const ask = (
    { app }: RunsApp,
    {
      target,
      options,
      client,
    }: { target?: Partial<RunTarget>; options?: RunOptions; client?: SseClientOptions } = {},
  ) => {
    const url = (id: string) => `/runs/${id}`;
    const own = new SseClient({ baseUrl: baseOf(app), retry: { minMs: 10 }, ...client });
    const answer = own.run(
      { start: { url, body: { question: '?' } }, attach: url, stop: url, ...target },
      options,
    );
    answers.push(answer);
    return answer;
  };
  const cut = ({ app }: RunsApp) => cutConnections(app.get(ConnectionRegistry));
  const createApp = (format: RunFormat = 'json') =>
    createRunsApp(platform, { format, ifEnded: 'keep', orphanMs: 20_000 }, { retryMs: 10 });

  it('comes whole over connections that are cut', async () => {
    const context = await createApp();
    const answer = ask(context);
    const source = context.source(answer.id);
    const items: unknown[] = [];
    source.push(1);
    for await (const item of answer) {
      items.push(item);
      if (items.length < 12) {
        if (items.length % 3 === 0) {
          cut(context);
        }
        source.push(items.length + 1);
      } else {
        source.end();
      }
    }
    expect(items).toEqual(Array.from({ length: 12 }, (_, n) => n + 1));
    expect(await answer.outcome).toEqual({ reason: 'done' });
    expect(source.starts).toBe(1);
    await context.nothingLeft();
  });

  it('is made once though the answer to its POST is lost', async () => {
    const context = await createApp();
    let isLost = false;
    const methods: unknown[] = [];
    const answer = ask(context, {
      client: {
        fetch: async (url, init) => {
          methods.push(init?.method);
          const response = await fetch(url, init);
          if (!isLost) {
            isLost = true;
            await response.body!.cancel();
            throw new TypeError('lost');
          }
          return response;
        },
      },
    });
    context.source(answer.id).push('a', 'b').end();
    const items: unknown[] = [];
    for await (const item of answer) {
      items.push(item);
    }
    expect(items).toEqual(['a', 'b']);
    expect(methods).toEqual(['POST', 'GET']);
    expect(context.source(answer.id).starts).toBe(1);
  });

  it('is started again if its POST never came to the server', async () => {
    const context = await createApp();
    const methods: unknown[] = [];
    const answer = ask(context, {
      client: {
        fetch: (url, init) => {
          methods.push(init?.method);
          return methods.length === 1 ? Promise.reject(new TypeError('lost')) : fetch(url, init);
        },
      },
    });
    context.source(answer.id).push('a').end();
    const items: unknown[] = [];
    for await (const item of answer) {
      items.push(item);
    }
    expect(items).toEqual(['a']);
    expect(methods).toEqual(['POST', 'GET', 'POST']);
  });

  it('is not started again once it was stopped', async () => {
    const context = await createApp();
    const methods: unknown[] = [];
    const errors: unknown[] = [];
    const answer = ask(context, {
      options: { onError: ({ code }) => errors.push(code) },
      client: {
        fetch: (url, init) => {
          methods.push(init?.method);
          return methods.length === 1 ? Promise.reject(new TypeError('lost')) : fetch(url, init);
        },
      },
    });
    await waitFor(() => errors.length > 0);
    expect(await answer.stop()).toBe(false);
    expect(await answer.outcome).toEqual({ reason: 'stopped' });
    expect(methods).toEqual(['POST', 'GET', 'DELETE']);
    expect(context.source(answer.id).starts).toBe(0);
  });

  it('fails with what its POST is answered, though each GET finds nothing', async () => {
    const context = await createApp();
    const methods: unknown[] = [];
    const answer = ask(context, {
      client: {
        fetch: async (url, init) => {
          methods.push(init?.method);
          return init?.method === 'POST' ? new Response('broken', { status: 500 }) : fetch(url, init);
        },
      },
    });
    expect(await answer.outcome).toMatchObject({ reason: 'failed', error: { status: 500, body: 'broken' } });
    expect(methods).toEqual(['POST', 'GET', 'POST', 'GET', 'POST']);
  });

  it('is stopped for everybody, and left for oneself', async () => {
    const context = await createApp();
    const left = ask(context);
    context.source(left.id).push(1);
    for await (const item of left) {
      expect(item).toBe(1);
      break;
    }
    expect(await left.outcome).toEqual({ reason: 'left' });
    expect(context.source(left.id).isAborted).toBe(false);

    const again = ask(context, { target: { id: left.id, start: undefined } });
    const items: unknown[] = [];
    const reading = (async () => {
      for await (const item of again) {
        items.push(item);
      }
    })();
    await waitFor(() => items.length === 1);
    expect(await again.stop()).toBe(true);
    await reading;
    expect(await again.outcome).toEqual({ reason: 'stopped' });
    await context.source(left.id).untilAborted();
    expect(await again.stop()).toBe(true);
    await context.nothingLeft();
  });

  it('is none, if there is no run to attach to', async () => {
    const context = await createApp();
    const answer = ask(context, { target: { id: 'unknown', start: undefined } });
    for await (const item of answer) {
      throw new Error(`Nothing was to come, and not ${String(item)}.`);
    }
    expect(await answer.outcome).toEqual({ reason: 'none' });
    expect(await answer.stop()).toBe(false);
  });

  it('throws what the run has failed with', async () => {
    const context = await createApp();
    const answer = ask(context);
    context.source(answer.id).push(1).fail(new Error('secret'));
    const items: unknown[] = [];
    const reading = (async () => {
      for await (const item of answer) {
        items.push(item);
      }
    })();
    await expect(reading).rejects.toMatchObject({
      name: 'SseClientError',
      code: 'run-failed',
      reason: 'error',
    });
    expect(items).toEqual([1]);
    expect((await answer.outcome).reason).toBe('failed');
  });

  it('throws at once the status of a run that failed before anything', async () => {
    const context = await createApp();
    const answer = ask(context);
    context.source(answer.id).fail(new HttpException('Slower.', 429));
    expect(await answer.outcome).toMatchObject({
      reason: 'failed',
      error: { code: 'run-failed', status: 429, body: expect.stringContaining('Slower.') },
    });
  });

  it.each<[RunFormat, unknown[]]>([
    ['openai', [{ choices: [] }]],
    ['anthropic', [{ type: 'message_start' }, { type: 'message_stop' }]],
    ['ai-sdk', [{ type: 'text-delta', id: '1', delta: 'a' }]],
    [
      'ag-ui',
      [
        { type: 'RUN_STARTED', threadId: 't', runId: 'r' },
        { type: 'RUN_FINISHED', threadId: 't', runId: 'r' },
      ],
    ],
  ])('is read to its last frame in the format %s', async (format, sent) => {
    const context = await createApp(format);
    const answer = ask(context, { options: { format } });
    context
      .source(answer.id)
      .push(...sent)
      .end();
    const items: unknown[] = [];
    for await (const item of answer) {
      items.push(item);
    }
    expect(items).toEqual(sent);
    expect(await answer.outcome).toEqual({ reason: 'done' });
  });
});
