import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { ScriptedFetch, ScriptedStream, settled } from '../../test/support/clients/scripted-fetch.js';
import { SseClient } from './index.js';
import type { ClientFollowOptions, Feed, Resume, SseClientError } from './index.js';

const ID = (n: number) => `e-${n}-0000000${n}`;
const CURSOR = `event: cursor\ndata: {"snapshots":0}\nid: ${ID(0)}\n\n`;
const never = new Promise<never>(() => undefined);

/** What a page meets that is not as it should be: each has an answer, and none is a rejection that nobody handles. */
describe('a client that is given what it cannot use', () => {
  let scripted: ScriptedFetch;
  let feed: Feed | undefined;
  let log: unknown[];
  let errors: SseClientError[];
  const unhandled = jest.fn();

  beforeEach(() => {
    jest.useFakeTimers({ doNotFake: ['queueMicrotask', 'nextTick', 'setImmediate'] });
    jest.spyOn(Math, 'random').mockReturnValue(1);
    scripted = new ScriptedFetch();
    log = [];
    errors = [];
    process.on('unhandledRejection', unhandled);
  });
  afterEach(async () => {
    feed?.close();
    await settled();
    expect(jest.getTimerCount()).toBe(0);
    expect(unhandled).not.toHaveBeenCalled();
    process.off('unhandledRejection', unhandled);
    Reflect.deleteProperty(globalThis, 'location');
    jest.restoreAllMocks();
    jest.useRealTimers();
  });

  const pass = async (ms: number) => {
    await jest.advanceTimersByTimeAsync(ms);
    await settled();
  };
  const follow = async (options: ClientFollowOptions = {}) => {
    const client = new SseClient({ baseUrl: 'http://host/', fetch: scripted.fetch, identity: 'me' });
    feed = client.follow('/feed', undefined, {
      onState: (state, { source }) => log.push({ [source]: state }),
      onError: (error, { willRetry }) => {
        errors.push(error);
        log.push([error.code, willRetry]);
      },
      ...options,
    });
    feed.on('message', (data) => log.push(data));
    await settled();
  };

  it('says that another origin may lack CORS, and tries again', async () => {
    Object.assign(globalThis, { location: { origin: 'http://page', href: 'http://page/' } });
    scripted.answer(new TypeError('Failed to fetch'));
    await follow();
    expect(log).toEqual([['network', true]]);
    expect(errors[0]).toMatchObject({ url: 'http://host/feed' });
    expect(errors[0]!.message).toContain('CORS');
    await pass(1_000);
    expect(scripted.requests).toHaveLength(2);
  });

  it('shows the first 200 characters of a page that comes in pieces', async () => {
    const portal = (...pieces: string[]) => {
      const page = new ScriptedStream({ 'content-type': 'text/html' });
      pieces.forEach((piece) => page.write(piece));
      return page;
    };
    const whole = portal('<html>', 'é'.repeat(150), 'x'.repeat(1_000));
    scripted.answer(whole.response);
    await follow();
    expect(errors[0]).toMatchObject({
      code: 'content-type',
      status: 200,
      body: `<html>${'é'.repeat(150)}${'x'.repeat(44)}`,
    });
    expect(whole.isCanceled).toBe(true);
  });

  it('waits two seconds at most for a page that does not end', async () => {
    const page = new ScriptedStream({ 'content-type': 'text/html' }).write('<html>');
    scripted.answer(page.response);
    await follow();
    await pass(2_000);
    expect(errors[0]).toMatchObject({ code: 'content-type', body: '<html>' });
  });

  it('reads nothing of a body that is no event stream, and comes back', async () => {
    scripted.answer(new ScriptedStream().write('{"error":"as JSON"}\n\u0000\u0001:\n\n').end().response);
    await follow();
    expect(log).toEqual([]);
    await pass(1_000);
    expect(scripted.requests).toHaveLength(2);
  });

  it('ends at an event that does not end', async () => {
    const stream = new ScriptedStream();
    scripted.answer(stream.response);
    await follow();
    stream.write('data: ').write('x'.repeat(17 * 1_048_576));
    await settled();
    expect(log).toEqual([['too-large', false]]);
    expect(stream.isCanceled).toBe(true);
  });

  const storages: [string, Partial<Resume<unknown>>, number][] = [
    [
      'throws as it loads',
      {
        load: () => {
          throw new Error('denied');
        },
      },
      0,
    ],
    ['rejects as it loads', { load: () => Promise.reject(new Error('denied')) }, 0],
    ['never loads', { load: () => never }, 30_000],
    [
      'cannot remove what it kept',
      {
        load: () => '{}',
        save: () => {
          throw new Error('denied');
        },
      },
      0,
    ],
    ['never removes what it kept', { load: () => '{}', save: () => never }, 30_000],
  ];
  it.each(storages)('begins with the state if the storage %s, and says so', async (_what, own, waitMs) => {
    const stream = new ScriptedStream().write(CURSOR);
    scripted.answer(stream.response);
    const resume = { state: () => 'kept', save: () => undefined, load: () => null, ...own };
    await follow({ state: async () => 'read', resume });
    await pass(waitMs);
    expect(log).toEqual([['storage-failed', true], { state: 'read' }]);
  });

  it('takes nothing that was kept for others, or elsewhere, or is no such text', async () => {
    const own = { identity: 'me', url: 'http://host/feed', place: ID(1), state: 'kept' };
    const kept: [unknown, unknown][] = [
      [own, { saved: 'kept' }],
      [{ ...own, identity: 'other' }, { state: 'read' }],
      [{ ...own, identity: null }, { state: 'read' }],
      [{ ...own, url: 'http://other/feed' }, { state: 'read' }],
      [{ ...own, place: 1 }, { state: 'read' }],
      [null, { state: 'read' }],
      ['text', { state: 'read' }],
    ];
    for (const [saved, expected] of kept) {
      log = [];
      const stream = new ScriptedStream();
      scripted.answer(stream.response);
      const resume = { state: () => 'kept', save: () => undefined, load: () => JSON.stringify(saved) };
      await follow({ state: async () => 'read', resume });
      // A server sends this to a client that names no place.
      if (scripted.requests.at(-1)!.headers.get('last-event-id') === null) {
        stream.write(CURSOR);
        await settled();
      }
      expect(log).toEqual([expected]);
      feed!.close();
    }
  });

  it('begins with the state if what was kept was cut off', async () => {
    scripted.answer(new ScriptedStream().write(CURSOR).response);
    const resume = { state: () => 'kept', save: () => undefined, load: () => '{"identity":"me","ur' };
    await follow({ state: async () => 'read', resume });
    expect(log).toEqual([{ state: 'read' }]);
  });

  it('follows a server of another make as an EventSource would', async () => {
    const streams = Array.from({ length: 3 }, () => new ScriptedStream());
    scripted.answer(...streams.map(({ response }) => response));
    await follow({ parse: (text) => text });
    // No ids: what was sent in between is lost, as it is for an EventSource.
    streams[0]!
      .write('retry: 100\r\n: hello\r\rdata: 1\r\ndata\r\ndata:  2\r\n\r\nevent: other\ndata: 3\n\n')
      .end();
    await settled();
    await pass(1_100);
    expect(scripted.requests[1]!.headers.get('last-event-id')).toBeNull();
    // Ids of its own are given back as they are, and an empty one takes the last away.
    streams[1]!.write('id: 5 of theirs\ndata: 4\n\n').end();
    await settled();
    await pass(1_100);
    expect(scripted.requests[2]!.headers.get('last-event-id')).toBe('5 of theirs');
    streams[2]!.write('id\n\ndata: 5\n\n').end();
    await settled();
    await pass(1_100);
    expect(scripted.requests[3]!.headers.get('last-event-id')).toBeNull();
    expect(log).toEqual(['1\n\n 2', '4', '5']);
  });

  it('goes on with a state, though the server of another make has ids of its own', async () => {
    const streams = Array.from({ length: 2 }, () => new ScriptedStream());
    scripted.answer(...streams.map(({ response }) => response));
    await follow({ state: async () => ({ data: 'all', at: '7' }) });
    streams[0]!.write('id: 7\ndata: 1\n\n').end();
    await settled();
    await pass(1_000);
    streams[1]!.write('id: 8\ndata: 2\n\n');
    await settled();
    // "7" is no position: nothing is known of what the state holds, and nothing is left out.
    expect(log).toEqual([{ state: { data: 'all', at: '7' } }, 1, 2]);
  });
});

describe('a run whose server is not to be had', () => {
  let scripted: ScriptedFetch;
  beforeEach(() => {
    jest.useFakeTimers({ doNotFake: ['queueMicrotask', 'nextTick', 'setImmediate'] });
    jest.spyOn(Math, 'random').mockReturnValue(1);
    scripted = new ScriptedFetch();
  });
  afterEach(() => {
    expect(jest.getTimerCount()).toBe(0);
    jest.restoreAllMocks();
    jest.useRealTimers();
  });
  const pass = async (ms: number) => {
    await jest.advanceTimersByTimeAsync(ms);
    await settled();
  };
  const run = () =>
    new SseClient({ baseUrl: 'http://host/', fetch: scripted.fetch }).run<number>({
      id: 'r',
      start: { url: '/start' },
      attach: '/attach',
      stop: '/stop',
    });

  it.each<[string, () => Response | Error]>([
    ['there is no network', () => new TypeError('offline')],
    ['a proxy has no server', () => new Response('', { status: 502 })],
  ])('goes on after a tunnel of ten minutes in which %s', async (_what, failure) => {
    const items: number[] = [];
    scripted.answer(new ScriptedStream().write('id: r-1\ndata: 1\n\n').end().response);
    const answer = run();
    const reading = (async () => {
      for await (const item of answer) {
        items.push(item);
      }
    })();
    await settled();
    scripted.otherwise = failure;
    await pass(600_000);
    scripted.answer(
      new ScriptedStream().write('id: r-2\ndata: 2\n\nid: r-3\nevent: done\ndata: null\n\n').end().response,
    );
    await pass(31_000);
    await reading;
    expect(items).toEqual([1, 2]);
    expect(await answer.outcome).toEqual({ reason: 'done' });
  });

  it('fails once the server itself has refused it for two minutes', async () => {
    scripted.otherwise = () => new Response('Overloaded.', { status: 503 });
    const answer = run();
    await pass(200_000);
    expect(await answer.outcome).toMatchObject({ reason: 'failed', error: { code: 'status', status: 503 } });
  });

  it('gives a stop up that gets no answer, after tries that each end', async () => {
    scripted.answer(new ScriptedStream().write('id: r-1\ndata: 1\n\n').response);
    const answer = run();
    await settled();
    const stopped = answer.stop().catch((error: unknown) => error);
    await pass(20 * 60_000);
    expect(await stopped).toMatchObject({ code: 'network' });
    expect(scripted.requests).toHaveLength(9);
    answer.leave();
    await answer.outcome;
  });
});
