import { HttpException } from '@nestjs/common';
import { afterEach, describe, expect, it } from '@jest/globals';
import { memory, SseError } from 'nestjs-event-stream';
import type { EventLogFactory, StreamFormat } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import type { SseTestStream } from 'nestjs-event-stream/testing';
import { Runs } from '../../../lib/runs/index.js';
import { AwayLog } from '../../support/servers/away-log.js';
import { baseOf, closeAll, open, platforms } from '../../support/apps/platforms.js';
import { createRunsApp } from './runs-app.js';

const dataOf = ({ events }: SseTestStream) => events.map(({ data }) => data);
const untilOver = (stream: SseTestStream) => stream.until(({ ending }) => ending !== undefined);

/** An error like those of the openai package: no HttpException, but with a status. */
class ProviderError extends Error {
  constructor(readonly status: number) {
    super('Incorrect API key provided: sk-secret.');
  }
}

describe.each(platforms)('a run on $name', (platform) => {
  afterEach(closeAll);

  it('is streamed to the client that started it, to its end', async () => {
    const { app, source, controller, nothingLeft } = await createRunsApp(platform);
    source('a').push('one', { type: 'two', data: { n: 2 } });

    const stream = await open(app, '/runs/a', { method: 'POST' });
    const events = await stream.take(2);
    source('a').push('three').end();
    await untilOver(stream);

    expect(stream.status).toBe(200);
    expect(events.map(({ type, data }) => [type, data])).toEqual([
      ['message', 'one'],
      ['two', '{"n":2}'],
    ]);
    expect(stream.events.at(-1)?.data).toBe('three');
    expect(stream.ending).toBe('complete');
    await waitFor(() => controller.ends.length === 1);
    expect(controller.ends).toEqual([{ reason: 'ended', events: 3, bytes: expect.any(Number) }]);
    await nothingLeft();
  });

  it('is given in full to a client that comes later, and is produced once', async () => {
    const { app, sse, source } = await createRunsApp(platform);
    await sse.runs.start('a', source('a').source, { format: 'json' });
    source('a').push(1, 2, 3);
    await waitFor(() => source('a').taken === 3);

    const stream = await open(app, '/runs/a');
    await stream.take(3);
    source('a').push(4).end();
    await untilOver(stream);
    const again = await open(app, '/runs/a');
    await untilOver(again);

    expect(stream.events.map(({ type, data }) => [type, data])).toEqual([
      ['message', '1'],
      ['message', '2'],
      ['message', '3'],
      ['message', '4'],
      ['done', 'null'],
    ]);
    expect(again.raw).toBe(stream.raw);
    expect(source('a').starts).toBe(1);
  });

  it('goes on after the last event that the client has', async () => {
    const { app, source } = await createRunsApp(platform, { format: 'json' });
    source('a').push(...Array.from({ length: 700 }, (_, n) => n));
    const first = await open(app, '/runs/a', { method: 'POST' });
    await first.take(300);
    const { id } = first.events[299]!;
    await first.close();

    const second = await open(app, '/runs/a', { lastEventId: id });
    await second.take(400);
    source('a').push('last').end();
    await untilOver(second);

    expect(dataOf(second)).toEqual([
      ...Array.from({ length: 400 }, (_, n) => String(n + 300)),
      '"last"',
      'null',
    ]);
    const after = await open(app, '/runs/a', { lastEventId: second.lastEventId });
    expect(after.status).toBe(204);
  });

  it('of a long answer is sent in full, even if it has ended', async () => {
    const { app, source, sse } = await createRunsApp(platform, {}, { runs: { ringBytes: 200_000 } });
    const items = Array.from({ length: 5_000 }, (_, n) => `item ${n}`);
    await sse.runs.start('a', source('a').source, { format: 'json' });
    source('a').push(...items);
    await waitFor(() => source('a').taken === 5_000, { timeoutMs: 10_000 });
    const live = await open(app, '/runs/a');
    await live.until(({ events }) => events.length === 5_000);
    source('a').end();
    await untilOver(live);
    const { log } = (await app.get(Runs).state('a', undefined))!;
    const end = await log.head();
    const later = await open(app, '/runs/a');
    await untilOver(later);

    expect(dataOf(live)).toEqual([...items.map((item) => JSON.stringify(item)), 'null']);
    expect(later.raw).toBe(live.raw);
    // The producer of an ended run is not told of clients: such records would push the end out of the last ones.
    expect(await log.head()).toEqual(end);
  });

  it('is started once by many clients that ask at once', async () => {
    const { app, source } = await createRunsApp(platform, { format: 'json' });
    const opening = Array.from({ length: 10 }, () => open(app, '/runs/a', { method: 'POST' }));
    await waitFor(() => source('a').starts === 1);
    source('a').push('x');
    const streams = await Promise.all(opening);
    source('a').end();
    await Promise.all(streams.map(untilOver));
    expect(streams.map(dataOf)).toEqual(Array.from({ length: 10 }, () => ['"x"', 'null']));
    expect(source('a').starts).toBe(1);
  });

  it('is replaced by the next with its id', async () => {
    const { app, source } = await createRunsApp(platform, { format: 'json' });
    source('a').push('first').end();
    const first = await open(app, '/runs/a', { method: 'POST' });
    await untilOver(first);
    source('a').push('second').end();
    const second = await open(app, '/runs/a', { method: 'POST' });
    await untilOver(second);
    const stale = await open(app, '/runs/a', { lastEventId: first.events[0]!.id });

    expect([dataOf(first), dataOf(second)]).toEqual([
      ['"first"', 'null'],
      ['"second"', 'null'],
    ]);
    expect(stale.status).toBe(410);
  });

  it('answers 204 if there is none', async () => {
    const { app, controller } = await createRunsApp(platform);
    const stream = await open(app, '/runs/nobody');
    expect(stream.status).toBe(204);
    expect(controller.ends).toEqual([{ reason: 'none', events: 0, bytes: 0 }]);
  });

  it.each([undefined, 'none'] as const)(
    'sends the rest after the end to a client that has a part of it, with ended %s',
    async (ended) => {
      const { app, source, controller } = await createRunsApp(platform, { format: 'ai-sdk' });
      controller.attachOptions = ended ? { ended } : {};
      source('a').push({ type: 'start' }, { type: 'finish' }).end();
      const first = await open(app, '/runs/a', { method: 'POST' });
      await untilOver(first);
      const rest = await open(app, '/runs/a', { lastEventId: first.events[0]!.id });
      await untilOver(rest);
      const none = await open(app, '/runs/a', { lastEventId: first.events.at(-1)!.id });

      expect(dataOf(rest)).toEqual(['{"type":"finish"}', '[DONE]']);
      expect(none.status).toBe(204);
    },
  );

  it('answers 204 after the end to a client of the AI SDK that resumes, and replays the run to a POST', async () => {
    const { app, source } = await createRunsApp(platform, { format: 'ai-sdk' });
    source('a').push({ type: 'start' }, { type: 'finish' }).end();
    const posted = await open(app, '/runs/a', { method: 'POST' });
    await untilOver(posted);
    expect(posted.headers['x-vercel-ai-ui-message-stream']).toBe('v1');
    expect(dataOf(posted)).toEqual(['{"type":"start"}', '{"type":"finish"}', '[DONE]']);
    expect((await open(app, '/runs/a')).status).toBe(204);
  });

  it('that fails before its first item is answered with the provider’s status, and without its message', async () => {
    const { app, source } = await createRunsApp(platform, { format: 'openai' });
    source('a').fail(new ProviderError(429));
    const stream = await open(app, '/runs/a', { method: 'POST' });
    const later = await open(app, '/runs/a');

    expect([stream.status, later.status]).toEqual([429, 429]);
    // So that a client knows that to try again is in vain.
    for (const { headers } of [stream, later]) {
      expect(headers['sse-run-failed']).toBe('1');
      expect(headers['access-control-expose-headers']).toBe('Sse-Run-Failed');
    }
    expect(await stream.body()).toContain('Too Many Requests');
    expect(stream.raw + later.raw).not.toContain('sk-secret');
  });

  it('that fails before its first item with an HttpException tells its message', async () => {
    const { app, source } = await createRunsApp(platform);
    source('a').fail(new HttpException('Your plan has no model of that name.', 402));
    const stream = await open(app, '/runs/a', { method: 'POST' });
    expect(stream.status).toBe(402);
    expect(await stream.body()).toContain('Your plan has no model of that name.');
  });

  it('answers the failure of an attach() that is not awaited', async () => {
    const { app, source, sse } = await createRunsApp(platform);
    source('a').fail(new ProviderError(401));
    await sse.runs.start('a', source('a').source);
    const stream = await open(app, '/runs/a/unawaited');
    expect(stream.status).toBe(401);
  });

  it('that fails later ends with the error of its format', async () => {
    const { app, source, errors, nothingLeft } = await createRunsApp(platform, { format: 'openai' });
    source('a').push({ n: 1 }).fail(new ProviderError(500));
    const stream = await open(app, '/runs/a', { method: 'POST' });
    await untilOver(stream);

    expect(dataOf(stream)[0]).toBe('{"n":1}');
    expect(JSON.parse(dataOf(stream)[1]!)).toMatchObject({ error: { message: 'Internal Server Error' } });
    expect(dataOf(stream)).toHaveLength(2);
    expect(errors.join()).toContain('The run "a" failed.');
    await nothingLeft();
  });

  it('without a format ends a failure with an error event and a cut', async () => {
    const { app, source } = await createRunsApp(platform);
    source('a').push('x').fail(new Error('no'));
    const stream = await open(app, '/runs/a', { method: 'POST' });
    await untilOver(stream);
    expect(stream.events.map(({ type, data }) => [type, data])).toEqual([
      ['message', 'x'],
      ['error', 'Internal server error'],
    ]);
    expect(stream.ending).toBe('aborted');
  });

  it('belongs to its owner alone', async () => {
    const { app, source, sse } = await createRunsApp(platform);
    source('a').push('secret');
    await open(app, '/runs/a?owner=ada', { method: 'POST' });
    const others = [await open(app, '/runs/a?owner=eve'), await open(app, '/runs/a')];
    const stop = await fetch(`${baseOf(app)}/runs/a?owner=eve`, { method: 'DELETE' }).catch(() => undefined);

    // The same answer as for an id without a run.
    expect(others.map(({ status }) => status)).toEqual([204, 204]);
    expect(others.map(({ raw }) => raw).join()).not.toContain('secret');
    if (!platform.http2) {
      expect(stop?.status).toBe(404);
    }
    expect(await sse.runs.status('a', { owner: 'eve' })).toBeUndefined();
    expect(await sse.runs.of('eve').status('a')).toBeUndefined();
    expect(await sse.runs.status('a', { owner: 'ada' })).toMatchObject({ state: 'live', owner: 'ada' });
    expect(await sse.runs.of('ada').status('a')).toMatchObject({ state: 'live', owner: 'ada' });
    expect(source('a').isAborted).toBe(false);
  });

  it('takes a format of the app', async () => {
    const format: StreamFormat<number> = {
      headers: { 'x-protocol': 'lines' },
      encode: (n) => (n === 0 ? undefined : [{ type: 'n', data: n }, { data: 'and' }]),
      error: () => ({ data: 'failed' }),
      done: () => ({ data: 'fin' }),
    };
    const { app, source } = await createRunsApp(platform, { format: format as StreamFormat });
    source('a').push(0, 1, 2).end();
    const stream = await open(app, '/runs/a', { method: 'POST' });
    await untilOver(stream);
    expect(stream.headers['x-protocol']).toBe('lines');
    expect(dataOf(stream)).toEqual(['1', 'and', '2', 'and', 'fin']);
  });
});

describe('runs', () => {
  afterEach(closeAll);
  const [platform] = platforms;

  it.each([
    ['an empty id', '', {}, /1 to 512 characters/],
    ['a long id', 'x'.repeat(513), {}, /1 to 512 characters/],
    ['an unknown option', 'a', { timeout: 1 }, /runs\.start\(\) has no option "timeout"/],
    ['a time that is none', 'a', { timeoutMs: -1 }, /timeoutMs of runs\.start\(\) must be/],
    ['a format that there is not', 'a', { format: 'xml' }, /format must be one of/],
    ['another onDisconnect', 'a', { onDisconnect: 'pause' }, /'continue' or 'abort'/],
  ])('refuse %s', async (_what, id, options, message) => {
    const { sse, source } = await createRunsApp(platform!);
    await expect(sse.runs.start(id, source('x').source, options as never)).rejects.toThrow(message);
    expect(source('x').starts).toBe(0);
  });

  it.each(['', 5, undefined, 'x'.repeat(513), '\ud800'])('refuse the owner %p', async (owner) => {
    const { sse } = await createRunsApp(platform!);
    expect(() => sse.runs.of(owner as never)).toThrow(/owner of a run is a string/);
  });

  it('answer a bad id with 400, and a POST with 503 while the log is away', async () => {
    const away = new AwayLog();
    const { app, controller } = await createRunsApp(platform!, {}, { log: () => away });
    expect((await open(app, `/runs/${'x'.repeat(513)}`, { method: 'POST' })).status).toBe(400);
    away.isAway = true;
    const stream = await open(app, '/runs/a/attach', { method: 'POST' });
    expect(stream.status).toBe(503);
    expect(stream.headers['retry-after']).toBe('5');
    expect(await stream.body()).not.toContain('password');
    expect(controller.ends).toEqual([]);
  });

  it('answer a start with 503 if the process stood still for so long that it has lost the lease', async () => {
    const log: EventLogFactory = (context) => {
      const store = memory()(context);
      const openLog = store.open.bind(store);
      store.open = (name, options) =>
        options.lease
          ? Promise.reject(new SseError('lease-lost', 'The lease is over: nothing was appended.'))
          : openLog(name, options);
      return store;
    };
    const { app, errors } = await createRunsApp(platform!, {}, { log });
    const answer = await open(app, '/runs/a', { method: 'POST' });
    expect(answer.status).toBe(503);
    expect(await answer.body()).toContain('Try again.');
    expect(errors).toEqual([]);
  });

  it('tell a GET to come back while the log is away, and send all when it does', async () => {
    const away = new AwayLog();
    const { app, controller, source, errors } = await createRunsApp(platform!, {}, { log: () => away });
    source('a').push('x').end();
    await open(app, '/runs/a', { method: 'POST' });
    away.isAway = true;
    const streams = [await open(app, '/runs/b'), await open(app, '/runs/b'), await open(app, '/runs/b')];
    for (const stream of streams) {
      await untilOver(stream);
      expect(stream).toMatchObject({
        status: 200,
        headers: { 'content-type': 'text/event-stream; charset=utf-8' },
      });
      const [, retryMs] = /^retry: (\d+)\n$/.exec(stream.raw)!;
      expect(Number(retryMs)).toBeGreaterThanOrEqual(3_000);
      // A client of a format would take an orderly end for the end of the answer.
      expect(await stream.ended).toBe('aborted');
    }
    expect(controller.ends.slice(-3)).toEqual(streams.map(() => ({ reason: 'error', events: 0, bytes: 0 })));
    expect(errors.filter((line) => line.includes('could not be given'))).toHaveLength(1);

    away.isAway = false;
    const back = await open(app, '/runs/a');
    await untilOver(back);
    expect(dataOf(back)).toEqual(['x']);
  });

  it('send no answer that a browser may cache: a later request would get the old answer', async () => {
    const away = new AwayLog();
    const { app, source } = await createRunsApp(platform!, {}, { log: () => away });
    source('a').push('x').end();
    source('c').fail(new HttpException('no', 401));
    const answers = {
      live: await open(app, '/runs/a', { method: 'POST' }),
      none: await open(app, '/runs/b'),
      bad: await open(app, `/runs/${'x'.repeat(513)}`),
      replaced: await open(app, '/runs/a', { headers: { 'last-event-id': '17' } }),
      failed: await open(app, '/runs/c', { method: 'POST' }),
    };
    away.isAway = true;
    const all = {
      ...answers,
      away: await open(app, '/runs/d'),
      awayPost: await open(app, '/runs/d/attach', { method: 'POST' }),
    };
    const seen = Object.entries(all).map(([name, { status, headers }]) => [
      name,
      status,
      headers['cache-control'],
    ]);
    expect(seen).toEqual([
      ['live', 200, expect.stringContaining('no-store')],
      ['none', 204, 'no-store'],
      ['bad', 400, 'no-store'],
      ['replaced', 410, 'no-store'],
      ['failed', 401, 'no-store'],
      ['away', 200, expect.stringContaining('no-store')],
      ['awayPost', 503, 'no-store'],
    ]);
  });

  it.each([
    ['of 5,000 characters', { headers: { 'last-event-id': 'x'.repeat(5_000) } }, ''],
    ['that is no ASCII', { headers: { 'last-event-id': 'é' } }, ''],
    ['with a NUL in the URL', {}, '?lastEventId=a%00b'],
    ['with a line break in the URL', {}, '?lastEventId=a%0Ab'],
    ['of another server', { headers: { 'last-event-id': '17' } }, ''],
  ])('answer 410 to an id %s, which is not the same as none', async (_what, options, query) => {
    const { app, source } = await createRunsApp(platform!);
    source('a').push('x').end();
    await open(app, '/runs/a', { method: 'POST' });
    const answer = await open(app, `/runs/a${query}`, options);
    expect(answer.status).toBe(410);
    expect(await answer.body()).not.toContain('x"');
  });

  it.each(['', '?lastEventId=', '?lastEventId=undefined', '?lastEventId=null'])(
    'give all of it to a client that brings no id (%p)',
    async (query) => {
      const { app, source } = await createRunsApp(platform!);
      source('a').push('x').end();
      await open(app, '/runs/a', { method: 'POST' });
      const answer = await open(app, `/runs/a${query}`);
      await untilOver(answer);
      expect(dataOf(answer)).toEqual(['x']);
    },
  );

  it('share a response with no topics, and with no other run', async () => {
    const { app, source, sse } = await createRunsApp(platform!);
    source('a').push('x');
    await sse.runs.start('a', source('a').source);
    const stream = await open(app, '/runs/a/two-feeds');
    // The first event is the position of the topics.
    const [, told] = await stream.take(2);
    const { refused } = JSON.parse(told!.data) as { refused: string[] };
    expect(refused).toEqual([
      expect.stringMatching(/^misuse A connection has one feed/),
      expect.stringMatching(/^misuse A connection has one feed/),
    ]);
    const other = await open(app, '/runs/a/two-runs');
    expect((await other.next()).data).toBe('x');
    expect((await other.next()).data).toMatch(/^misuse A connection has one feed/);
  });

  it('keep all of an answer, even if a log in memory keeps few events of topics', async () => {
    const { app, source } = await createRunsApp(
      platform!,
      { format: 'json' },
      { log: memory({ maxBytes: 1_000, maxEvents: 3, maxAgeMs: 1 }) },
    );
    const texts = Array.from({ length: 20 }, (_, n) => `${n} ${'x'.repeat(200)}`);
    source('a').push(...texts);
    const stream = await open(app, '/runs/a', { method: 'POST' });
    await stream.take(20);
    source('a').end();
    const later = await open(app, '/runs/a');
    await untilOver(later);
    expect(dataOf(later)).toEqual([...texts.map((text) => JSON.stringify(text)), 'null']);
  });

  it('refuse a source that was called already', async () => {
    const { sse } = await createRunsApp(platform!);
    await expect(sse.runs.start('a', [] as never)).rejects.toThrow(/takes a function/);
  });

  it('commit their headers after three seconds without an item', async () => {
    const { app } = await createRunsApp(platform!, {}, { heartbeatMs: 200 });
    const stream = await open(app, '/runs/a', { method: 'POST' });
    expect(stream.status).toBe(200);
    await stream.until(({ comments }) => comments.length > 0);
  });

  it('do not let a client that reads nothing delay the others or the source', async () => {
    const { app, source, sse } = await createRunsApp(platform!);
    await sse.runs.start('a', source('a').source, { format: 'json' });
    source('a').push('first');
    const slow = await open(app, '/runs/a', { method: 'POST' });
    slow.pause();
    const quick = await open(app, '/runs/a');
    const items = Array.from({ length: 1_000 }, (_, n) => `${n} ${'x'.repeat(10_000)}`);
    source('a')
      .push(...items)
      .end();
    await untilOver(quick);
    expect(quick.events).toHaveLength(1_002);
    slow.resume();
    await untilOver(slow);
    expect(slow.raw).toBe(quick.raw);
  });

  it('pause the source for a client that reads nothing, with pauseForClients', async () => {
    const { app, source, sse } = await createRunsApp(platform!);
    await sse.runs.start('a', source('a').source, { format: 'json', pauseForClients: true });
    source('a').push('first');
    const slow = await open(app, '/runs/a');
    slow.pause();
    const items = Array.from({ length: 1_500 }, (_, n) => `${n} ${'x'.repeat(10_000)}`);
    source('a')
      .push(...items)
      .end();
    let last = -1;
    await waitFor(
      async () => {
        const before = last;
        last = source('a').taken;
        await new Promise((resolve) => setTimeout(resolve, 100));
        return last > 0 && last === before;
      },
      { timeoutMs: 10_000 },
    );
    expect(source('a').taken).toBeLessThan(1_500);
    slow.resume();
    await untilOver(slow);
    expect(slow.events).toHaveLength(1_502);
  });
});
