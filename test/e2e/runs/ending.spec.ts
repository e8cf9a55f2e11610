import { afterEach, describe, expect, it } from '@jest/globals';
import type { RunEnd, SseRunOptions } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import type { SseTestStream } from 'nestjs-event-stream/testing';
import { closeAll, open, platforms } from '../../support/apps/platforms.js';
import { createRunsApp } from './runs-app.js';

const untilOver = (stream: SseTestStream) => stream.until(({ ending }) => ending !== undefined);

/** Keeps the ends that the app is told of, with the items that it reads then. */
function saved() {
  const ends: (Omit<RunEnd, 'items'> & { items: unknown[] })[] = [];
  const onEnd = async (end: RunEnd) => {
    ends.push({ ...end, items: await end.items() });
  };
  return { ends, onEnd, one: () => waitFor(() => ends.length === 1 && ends[0]) };
}

const ENDINGS: [reason: string, options: SseRunOptions, last: unknown][] = [
  ['timeout', { timeoutMs: 100 }, { type: 'error', errorText: 'The answer has reached its time limit.' }],
  ['timeout', { idleMs: 100 }, { type: 'error', errorText: 'The answer has reached its time limit.' }],
  ['error', { maxEvents: 2 }, { type: 'error', errorText: 'Internal server error' }],
  ['error', { maxBytes: 20 }, { type: 'error', errorText: 'Internal server error' }],
];

describe.each(platforms)('the end of a run on $name', (platform) => {
  afterEach(closeAll);

  it('comes with stop(): its source is aborted, even while it waits, and its clients are told', async () => {
    const { ends, onEnd, one } = saved();
    const { app, source, sse, nothingLeft } = await createRunsApp(platform, { format: 'ai-sdk', onEnd });
    source('a').push({ type: 'start' });
    const stream = await open(app, '/runs/a', { method: 'POST' });
    await stream.next();

    expect(await sse.runs.stop('a')).toBe(true);
    await untilOver(stream);
    await one();
    expect(source('a').isAborted).toBe(true);
    expect(stream.events.map(({ data }) => data)).toEqual(['{"type":"start"}', '{"type":"abort"}', '[DONE]']);
    expect(ends).toMatchObject([
      { id: 'a', reason: 'stop', events: 1, bytes: 16, items: [{ type: 'start' }] },
    ]);
    expect(await sse.runs.stop('a')).toBe(false);
    await expect(sse.runs.stop('b')).rejects.toMatchObject({ status: 404 });
    expect(await sse.runs.status('a')).toMatchObject({
      id: 'a',
      key: ends[0]!.key,
      state: 'ended',
      reason: 'stop',
      format: 'ai-sdk',
      events: 1,
    });
    await nothingLeft();
  });

  it.each(ENDINGS)('comes as %s with %j', async (reason, options, last) => {
    const { ends, onEnd, one } = saved();
    const { app, source, errors, nothingLeft } = await createRunsApp(platform, {
      format: 'ai-sdk',
      onEnd,
      ...options,
    });
    source('a').push({ type: 'x' }, { type: 'x' });
    const stream = await open(app, '/runs/a', { method: 'POST' });
    if (reason === 'error') {
      source('a').push({ type: 'y' });
    }
    await untilOver(stream);
    await one();
    const told = stream.events.map(({ data }) => data);
    expect(told.at(-1)).toBe('[DONE]');
    expect(JSON.parse(told.at(-2)!)).toEqual(last);
    expect(source('a').isAborted).toBe(true);
    expect(ends[0]).toMatchObject({ reason, items: ends[0]!.items, error: expect.any(Error) });
    expect(ends[0]!.items).toHaveLength(ends[0]!.events);
    expect(errors.length > 0).toBe(reason === 'error');
    await nothingLeft();
  });

  it('comes when the last client has left, with onDisconnect abort', async () => {
    const { ends, onEnd, one } = saved();
    const { app, source, nothingLeft } = await createRunsApp(platform, { onDisconnect: 'abort', onEnd });
    source('a').push(1);
    const streams = [await open(app, '/runs/a', { method: 'POST' }), await open(app, '/runs/a')];
    await Promise.all(streams.map((stream) => stream.next()));
    await streams[0]!.close();
    source('a').push(2);
    await streams[1]!.next();
    expect(source('a').isAborted).toBe(false);

    await streams[1]!.close();
    await source('a').untilAborted();
    await one();
    expect(ends[0]).toMatchObject({ reason: 'client', items: [1, 2] });
    await nothingLeft();
  });

  it('comes when no client was attached for orphanMs, and not if one came back', async () => {
    const { ends, onEnd, one } = saved();
    const { app, source } = await createRunsApp(platform, { orphanMs: 400, onEnd });
    source('a').push(1);
    const first = await open(app, '/runs/a', { method: 'POST' });
    await first.next();
    await first.close();
    const second = await open(app, '/runs/a');
    await new Promise((resolve) => setTimeout(resolve, 600));
    expect(source('a').isAborted).toBe(false);

    await second.close();
    await source('a').untilAborted();
    await one();
    expect(ends[0]).toMatchObject({ reason: 'orphan' });
  });

  it('comes at once if the client has left before it was attached', async () => {
    const { app, source, sse } = await createRunsApp(platform, { onDisconnect: 'abort', orphanMs: false });
    let isLeaving = true;
    const { start } = sse.runs;
    sse.runs.start = async (...args) => {
      const started = await start.apply(sse.runs, args);
      await waitFor(() => !isLeaving);
      return started;
    };
    const leaving = new AbortController();
    const opening = open(app, '/runs/a', { method: 'POST', signal: leaving.signal });
    await waitFor(() => source('a').starts === 1);
    leaving.abort();
    await expect(opening).rejects.toThrow(/given up/);
    isLeaving = false;
    await source('a').untilAborted();
    await waitFor(async () => (await sse.runs.status('a'))?.reason === 'client');
  });

  it('comes when no client was ever attached', async () => {
    const { source, sse } = await createRunsApp(platform);
    await sse.runs.start('a', source('a').source, { orphanMs: 50 });
    await source('a').untilAborted();
    await waitFor(async () => (await sse.runs.status('a'))?.reason === 'orphan');
    expect(await sse.runs.status('a')).toMatchObject({ events: 0, bytes: 0 });
  });

  it('comes when the app closes, by the closing frames of the format', async () => {
    const { ends, onEnd } = saved();
    const endsAtShutdown: number[] = [];
    const database = { onApplicationShutdown: () => endsAtShutdown.push(ends.length) };
    const { app, source } = await createRunsApp(
      platform,
      {
        format: 'openai',
        onEnd: async (end) => {
          await new Promise((resolve) => setTimeout(resolve, 100));
          await onEnd(end);
        },
      },
      {},
      [{ provide: 'database', useValue: database }],
    );
    source('a').push({ n: 1 });
    const stream = await open(app, '/runs/a', { method: 'POST' });
    await stream.next();
    await app.close();
    await untilOver(stream);

    expect(JSON.parse(stream.events.at(-1)!.data)).toMatchObject({ error: { code: 'shutdown' } });
    expect(stream.ending).toBe('complete');
    expect(source('a').isAborted).toBe(true);
    expect(ends).toMatchObject([{ reason: 'shutdown', items: [{ n: 1 }] }]);
    // Before the hook in which the app's modules close their database.
    expect(endsAtShutdown).toEqual([1]);
  });

  it('is told to each listener once, and again if a listener fails', async () => {
    const { ends, onEnd } = saved();
    const failing = { calls: 0 };
    const { source, sse, errors } = await createRunsApp(platform);
    const stopListening = sse.runs.onEnd(onEnd);
    sse.runs.onEnd(() => {
      failing.calls += 1;
      if (failing.calls === 1) {
        throw new Error('The database is away.');
      }
    });
    source('a').push({ data: 'x', type: 'named' }, 'y').end();
    await sse.runs.start('a', source('a').source, { onEnd });
    await waitFor(() => failing.calls === 2, { timeoutMs: 10_000 });

    expect(errors.join()).toContain('The database is away.');
    expect(new Set(ends.map(({ key }) => key)).size).toBe(1);
    expect(ends[0]!.items).toEqual([{ type: 'named', data: 'x' }, 'y']);
    stopListening();
    source('b').end();
    await sse.runs.start('b', source('b').source);
    await waitFor(() => failing.calls === 3);
    expect(ends.some(({ id }) => id === 'b')).toBe(false);
  });

  it('delays the next run with the id until the answer is saved', async () => {
    const order: string[] = [];
    const { source, sse } = await createRunsApp(platform);
    source('a').push('old').end();
    let save!: () => void;
    const saving = new Promise<void>((resolve) => {
      save = resolve;
    });
    await sse.runs.start('a', source('a').source, {
      onEnd: async (end) => {
        await saving;
        order.push(`saved ${JSON.stringify(await end.items())}`);
      },
    });
    await waitFor(async () => (await sse.runs.status('a'))?.state === 'ended');
    const starting = sse.runs.start('a', source('b').source).then(() => order.push('started'));
    save();
    await starting;
    expect(order).toEqual(['saved ["old"]', 'started']);
  });
});
