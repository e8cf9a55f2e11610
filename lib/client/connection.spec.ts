import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { ScriptedFetch, ScriptedStream, settled } from '../../test/support/clients/scripted-fetch.js';
import { SseClient } from './index.js';
import type { ClientFollowOptions, SseClientOptions } from './index.js';

const ID = (n: number) => `e-${n}-0000000${n}`;
const event = (n: number) => `data: ${n}\nid: ${ID(n)}\n\n`;

/** The ways in which an app ends what it follows or reads. */
const ends: [string, (own: { end(): void; aborting: AbortController }) => void][] = [
  ['itself', ({ end }) => end()],
  ['the signal', ({ aborting }) => aborting.abort()],
];

/** How a feed connects, comes back and gives up, with a scripted fetch and a fake clock. */
describe('the connection of a feed', () => {
  let scripted: ScriptedFetch;
  const closers: { close(): void }[] = [];

  beforeEach(() => {
    jest.useFakeTimers({ doNotFake: ['queueMicrotask', 'nextTick', 'setImmediate'] });
    // The jitter at its longest.
    jest.spyOn(Math, 'random').mockReturnValue(1);
    scripted = new ScriptedFetch();
  });
  afterEach(() => {
    closers.splice(0).forEach((feed) => feed.close());
    jest.restoreAllMocks();
    jest.useRealTimers();
  });

  const pass = async (ms: number) => {
    await jest.advanceTimersByTimeAsync(ms);
    await settled();
  };
  const follow = (options: ClientFollowOptions = {}, clientOptions: SseClientOptions = {}) => {
    const log: unknown[] = [];
    const client = new SseClient({ baseUrl: 'http://host/', fetch: scripted.fetch, ...clientOptions });
    const feed = client.follow('/feed', undefined, {
      onStatus: (status) => log.push(status),
      onError: ({ code, status }, { willRetry }) => log.push([code, status, willRetry]),
      ...options,
    });
    feed.on('message', (data) => log.push(data));
    closers.push(feed);
    return { feed, log };
  };

  it('asks for an event stream, and for what it announces', async () => {
    follow({}, { headers: { 'x-own': '1' }, credentials: 'include' });
    await settled();
    const [{ url, method, headers }] = scripted.requests as [ScriptedFetch['requests'][0]];
    expect([url, method]).toEqual(['http://host/feed', 'GET']);
    expect(headers.get('accept')).toBe('text/event-stream, text/event-stream;announce=1');
    expect(headers.get('x-own')).toBe('1');
    expect(headers.get('last-event-id')).toBeNull();
  });

  it('comes back with the last id after the retry of the server, and a jitter beyond it', async () => {
    const stream = new ScriptedStream();
    scripted.answer(stream.response);
    const { log } = follow();
    await settled();
    stream.write('retry: 5000\n').write(event(1)).end();
    await settled();
    expect(log).toEqual(['open', 1, 'waiting']);
    await pass(5_999);
    expect(scripted.requests).toHaveLength(1);
    await pass(1);
    expect(scripted.requests).toHaveLength(2);
    expect(scripted.requests[1]!.headers.get('last-event-id')).toBe(ID(1));
  });

  it('waits longer after each failure, up to a bound', async () => {
    scripted.answer(...Array.from({ length: 8 }, () => new TypeError('refused')));
    const { log } = follow({}, { retry: { minMs: 100, maxMs: 1_000 } });
    await settled();
    const waits: number[] = [];
    for (let n = 0; n < 7; n += 1) {
      const { length } = scripted.requests;
      let waited = 0;
      while (scripted.requests.length === length) {
        await pass(50);
        waited += 50;
      }
      waits.push(waited);
    }
    expect(waits).toEqual([100, 200, 400, 800, 1_000, 1_000, 1_000]);
    expect(log.slice(0, 3)).toEqual([['network', undefined, true], 'waiting', 'connecting']);
  });

  it.each([408, 425, 429, 500, 502, 503])(
    'tries again after %d, whatever its content type',
    async (status) => {
      const stream = new ScriptedStream();
      scripted.answer(
        new Response('<html>Bad</html>', { status, headers: { 'content-type': 'text/html' } }),
        stream.response,
      );
      const { log } = follow();
      await settled();
      await pass(1_000);
      stream.write(event(1));
      await settled();
      expect(log).toEqual([['status', status, true], 'waiting', 'connecting', 'open', 1]);
    },
  );

  it('honours Retry-After', async () => {
    scripted.answer(new Response('', { status: 503, headers: { 'retry-after': '60' } }));
    follow();
    await pass(59_000);
    expect(scripted.requests).toHaveLength(1);
    await pass(1_000);
    expect(scripted.requests).toHaveLength(2);
  });

  it.each([400, 403, 404, 410])('ends at %d with an error that says what was answered', async (status) => {
    scripted.answer(new Response(`No. ${'x'.repeat(500)}`, { status }));
    const errors: unknown[] = [];
    const { feed } = follow({ onError: (error, { willRetry }) => errors.push([error, willRetry]) });
    await settled();
    expect(feed.status).toBe('closed');
    expect(errors).toEqual([
      [
        expect.objectContaining({
          code: 'status',
          status,
          url: 'http://host/feed',
          body: `No. ${'x'.repeat(196)}`,
        }),
        false,
      ],
    ]);
    await expect(feed[Symbol.asyncIterator]().next()).rejects.toMatchObject({ status });
    expect(jest.getTimerCount()).toBe(0);
  });

  it('asks once more at once after a 401, and ends at a second one', async () => {
    scripted.answer(new Response('', { status: 401 }), new Response('', { status: 401 }));
    const { log } = follow();
    await settled();
    expect(scripted.requests).toHaveLength(2);
    expect(log).toEqual([['status', 401, true], 'closed', ['status', 401, false]]);
  });

  it('ends at the third page in a row that is no event stream, such as one of a captive portal', async () => {
    const portal = () => new Response('<html>', { headers: { 'content-type': 'text/html' } });
    scripted.answer(portal, portal, portal);
    const { log } = follow();
    await pass(10_000);
    expect(scripted.requests).toHaveLength(3);
    expect(log.slice(-2)).toEqual(['closed', ['content-type', 200, false]]);
  });

  it('ends for good at 204', async () => {
    scripted.answer(new Response(null, { status: 204 }));
    const { feed, log } = follow();
    await settled();
    expect(log).toEqual(['closed']);
    expect(await feed[Symbol.asyncIterator]().next()).toEqual({ done: true, value: undefined });
  });

  it('takes three heartbeats without a byte for a dead connection, and a comment for a sign of life', async () => {
    const stream = new ScriptedStream();
    scripted.answer(stream.response);
    const { log } = follow();
    await settled();
    stream.write(': heartbeat 1000\n');
    await pass(2_900);
    stream.write(':\n');
    await pass(2_900);
    expect(log).toEqual(['open']);
    await pass(1_100);
    expect(log).toEqual(['open', ['silent', undefined, true], 'waiting']);
    expect(stream.isCanceled).toBe(true);
  });

  it('takes no silence for death while a heartbeat that no timer can hold is not missed', async () => {
    const stream = new ScriptedStream();
    scripted.answer(stream.response);
    const { log } = follow();
    await settled();
    stream.write(': heartbeat 2000000000\n');
    await pass(3_600_000);
    expect(log).toEqual(['open']);
  });

  it('takes no silence for death if the server tells no heartbeat', async () => {
    const stream = new ScriptedStream();
    scripted.answer(stream.response);
    const { log } = follow();
    await pass(3_600_000);
    stream.write(event(1));
    await settled();
    expect(log).toEqual(['open', 1]);
  });

  it('does not take the id of an event that was cut off', async () => {
    const stream = new ScriptedStream();
    scripted.answer(stream.response);
    follow();
    await settled();
    stream.write(`${event(1)}id: ${ID(2)}\ndata: 2\n`).end();
    await pass(1_000);
    expect(scripted.requests[1]!.headers.get('last-event-id')).toBe(ID(1));
  });

  it('asks for headers each time, and tries again if they cannot be had', async () => {
    let asked = 0;
    follow(
      {},
      {
        headers: async () => {
          asked += 1;
          if (asked === 1) {
            throw new Error('offline');
          }
          return { authorization: `${asked}` };
        },
      },
    );
    await pass(1_000);
    expect(scripted.requests.map(({ headers }) => headers.get('authorization'))).toEqual(['2']);
  });

  it('gives headers() up that does not settle, and asks again', async () => {
    let asked = 0;
    const { log } = follow({}, { headers: () => ((asked += 1), new Promise(() => undefined)) });
    await pass(29_999);
    expect(log).toEqual([]);
    await pass(1);
    expect(log).toEqual([['headers-failed', undefined, true], 'waiting']);
    await pass(1_000);
    expect(asked).toBe(2);
  });

  it.each(ends)('ends by %s though headers() does not settle', async (_how, end) => {
    const aborting = new AbortController();
    const client = new SseClient({
      baseUrl: 'http://host/',
      fetch: scripted.fetch,
      headers: () => new Promise(() => undefined),
    });
    const answer = client.run({ attach: '/run' }, { signal: aborting.signal });
    await settled();
    end({ end: () => answer.leave(), aborting });
    expect(await answer.outcome).toEqual({ reason: 'left' });
    expect(jest.getTimerCount()).toBe(0);
  });

  it('asks the app for no headers once it has ended', async () => {
    let asked = 0;
    const { feed } = follow(
      { onStatus: (status) => status === 'connecting' && feed.close() },
      { headers: () => ((asked += 1), new Promise(() => undefined)) },
    );
    // The first status is no news: the second attempt tells it.
    await settled();
    await pass(31_000);
    await pass(1_000);
    await settled();
    expect([asked, feed.status, jest.getTimerCount()]).toEqual([1, 'closed', 0]);
  });

  it('ends though fetch does not heed the signal, and drops what it brings later', async () => {
    let answer!: (response: Response) => void;
    const stream = new ScriptedStream();
    const { feed, log } = follow({}, { fetch: () => new Promise((resolve) => (answer = resolve)) });
    await settled();
    feed.close();
    answer(stream.response);
    await settled();
    expect(log).toEqual(['closed']);
    expect(stream.isCanceled).toBe(true);
  });

  it('ends at once with a body that cannot be sent', async () => {
    const body: { own?: object } = {};
    body.own = body;
    const client = new SseClient({ baseUrl: 'http://host/', fetch: scripted.fetch });
    const answer = client.run({ start: { url: '/run', body }, attach: '/run' });
    await settled();
    expect(await answer.outcome).toMatchObject({ reason: 'failed', error: { code: 'options-invalid' } });
    expect(scripted.requests).toEqual([]);
  });

  it('leaves out an event that cannot be parsed, and says so', async () => {
    const stream = new ScriptedStream();
    scripted.answer(stream.response);
    const { log } = follow();
    await settled();
    stream.write(`data: {"a\n\n${event(2)}`);
    await settled();
    expect(log).toEqual(['open', ['data-invalid', undefined, true], 2]);
  });

  it.each(ends)('ends every wait by %s, with nothing left', async (_how, end) => {
    const aborting = new AbortController();
    scripted.answer(new TypeError('refused'));
    const { feed, log } = follow({ signal: aborting.signal });
    await settled();
    expect(log.at(-1)).toBe('waiting');
    end({ end: () => feed.close(), aborting });
    await settled();
    expect(feed.status).toBe('closed');
    expect(jest.getTimerCount()).toBe(0);
    await pass(100_000);
    expect(scripted.requests).toHaveLength(1);
  });

  it('reads no further than its slowest loop', async () => {
    const stream = new ScriptedStream();
    scripted.answer(stream.response);
    const { feed } = follow();
    const loop = feed[Symbol.asyncIterator]();
    await settled();
    for (let chunks = 0; chunks < 30; chunks += 1) {
      stream.write(event(1).repeat(100));
      await settled();
    }
    expect(stream.unread).toBe(20);
    for (let taken = 0; taken < 3_000; taken += 1) {
      expect((await loop.next()).done).toBe(false);
    }
    await settled();
    expect(stream.unread).toBeLessThanOrEqual(0);
  });

  it.each(ends)('ends by %s though a loop has not read what waits for it', async (_how, end) => {
    const aborting = new AbortController();
    const stream = new ScriptedStream();
    scripted.answer(stream.response);
    const { feed } = follow({ signal: aborting.signal });
    const loop = feed[Symbol.asyncIterator]();
    void loop.next();
    await settled();
    stream.write(event(1).repeat(2_000));
    await settled();
    end({ end: () => feed.close(), aborting });
    await settled();
    expect(feed.status).toBe('closed');
    expect(await loop.next()).toEqual({ done: true, value: undefined });
    expect(stream.isCanceled).toBe(true);
    expect(jest.getTimerCount()).toBe(0);
  });

  it.each(ends)('lets an answer go by %s though nobody has read it', async (_how, end) => {
    const aborting = new AbortController();
    const stream = new ScriptedStream();
    scripted.answer(stream.response);
    const client = new SseClient({ baseUrl: 'http://host/', fetch: scripted.fetch });
    const answer = client.run({ attach: '/run' }, { signal: aborting.signal });
    await settled();
    stream.write(event(1).repeat(2_000));
    await settled();
    end({ end: () => answer.leave(), aborting });
    expect(await answer.outcome).toEqual({ reason: 'left' });
    expect(stream.isCanceled).toBe(true);
  });

  it('reads a state again that was read before the place was known', async () => {
    const stream = new ScriptedStream();
    scripted.answer(stream.response);
    let reads = 0;
    const { log } = follow({ state: async () => (reads += 1), onState: (state) => log.push({ state }) });
    await settled();
    await pass(3_000);
    expect(log).toEqual(['open', { state: 1 }]);
    stream.write(`event: cursor\ndata: {"snapshots":0}\nid: ${ID(4)}\n\n${event(5)}`);
    await settled();
    expect(log).toEqual(['open', { state: 1 }, { state: 2 }, 5]);
  });

  it('reads the state before the events of a server of another make, which tells no place', async () => {
    const stream = new ScriptedStream();
    scripted.answer(stream.response);
    const { log } = follow({ state: async () => 0, onState: (state) => log.push({ state }) });
    await settled();
    stream.write('data: 1\n\ndata: 2\n\n');
    await settled();
    expect(log).toEqual(['open', { state: 0 }, 1, 2]);
  });

  it('gives events of every type in order with the states', async () => {
    const stream = new ScriptedStream();
    scripted.answer(stream.response);
    let reads = 0;
    const log: unknown[] = [];
    follow({
      state: async () => (reads += 1),
      onState: (state) => log.push({ state }),
      onEvent: ({ type, data, id }) => log.push([type, data, id]),
    });
    await settled();
    stream.write(`event: cursor\ndata: {"snapshots":0}\nid: ${ID(0)}\n\n${event(1)}`);
    // The state comes before the reset, which would have it read again.
    await settled();
    stream.write(
      `event: other\n${event(2)}event: reset\ndata: {"reason":"epoch"}\nid: ${ID(3)}\n\n${event(4)}`,
    );
    await settled();
    expect(log).toEqual([
      { state: 1 },
      ['message', 1, ID(1)],
      ['other', 2, ID(2)],
      { state: 2 },
      ['message', 4, ID(4)],
    ]);
  });

  it('asks for the state again if it fails, or does not settle', async () => {
    const stream = new ScriptedStream();
    scripted.answer(stream.response);
    let reads = 0;
    const { log } = follow({
      state: ({ signal }) => {
        reads += 1;
        if (reads === 1) {
          return Promise.reject(new Error('away'));
        }
        return reads === 2
          ? new Promise(() => signal.addEventListener('abort', () => log.push('aborted')))
          : Promise.resolve(0);
      },
      onState: (state) => log.push({ state }),
    });
    await settled();
    stream.write(`event: cursor\ndata: {}\nid: ${ID(4)}\n\n${event(5)}`);
    await settled();
    await pass(1_000);
    await pass(30_000);
    await pass(2_000);
    const failed = ['state-failed', undefined, true];
    expect(log).toEqual(['open', failed, 'aborted', failed, { state: 0 }, 5]);
  });

  it.each<[SseClientOptions, RegExp]>([
    [{ retry: { minMs: -1 } }, /^retry.minMs must be milliseconds from 0 to 2147483647, got -1/],
    [{ retry: { maxMs: NaN } }, /^retry.maxMs must be .* got NaN/],
    [{ silenceMs: NaN }, /^silenceMs must be .* got NaN/],
    [{ silenceMs: 0 }, /^silenceMs must be .* got 0/],
    [{ silenceMs: Infinity }, /^silenceMs must be .* got Infinity/],
  ])('is refused for a time that is none, with %#', (options, message) => {
    expect(() => new SseClient(options)).toThrow(message);
  });

  it('is refused for a URL that is relative to nothing', () => {
    expect(() => new SseClient().follow('/feed')).toThrow(/"\/feed" is no URL/);
  });
});
