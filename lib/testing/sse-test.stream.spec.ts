import { createHook } from 'node:async_hooks';
import { setImmediate as turn } from 'node:timers/promises';
import * as http from 'node:http';
import * as http2 from 'node:http2';
import * as https from 'node:https';
import * as net from 'node:net';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { openSse, SseTestError, waitFor, type OpenSseOptions, type SseTestStream } from './index.js';

// Self-signed, for localhost, good until 2126.
const certificate = {
  key: `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgil8Mg3VVXZwpy6fh
2C6TjI1vchoVTRSGPZaTE4yGzYGhRANCAAR2nEUGM2QAhyIaZp/0W+ou42rd+2hS
1OuBzJAjsajMjDMyCCsIVHJtOm8uL15MM2cyXiSvdnW08jiVQvmt9JgD
-----END PRIVATE KEY-----`,
  cert: `-----BEGIN CERTIFICATE-----
MIIBrzCCAVSgAwIBAgIUWBLzZoiICkiBDDHcdU1CTVXzywUwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMzA3MzU0N1oYDzIxMjYxMDMw
MDczNTQ3WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAR2nEUGM2QAhyIaZp/0W+ou42rd+2hS1OuBzJAjsajMjDMyCCsIVHJt
Om8uL15MM2cyXiSvdnW08jiVQvmt9JgDo4GBMH8wHQYDVR0OBBYEFDiB0cKWaERg
t59Xm7/vAkX4pRlhMB8GA1UdIwQYMBaAFDiB0cKWaERgt59Xm7/vAkX4pRlhMA8G
A1UdEwEB/wQFMAMBAf8wLAYDVR0RBCUwI4IJbG9jYWxob3N0hwR/AAABhxAAAAAA
AAAAAAAAAAAAAAABMAoGCCqGSM49BAMCA0kAMEYCIQCYq48qEoTLO7+EATInqu0c
RhRRSxNxztoRWju3nfbiEAIhANVmdB5F/Qfpilc/tOP/qamwv+lUNb/jNmvWubft
iMf+
-----END CERTIFICATE-----`,
};

type Request = http.IncomingMessage | http2.Http2ServerRequest;
/** What servers of both protocols have in common, through the compatibility API of HTTP/2. */
type Response = http.ServerResponse;
type Handler = (response: Response, request: Request) => void;

const protocols = {
  'HTTP/1.1': {
    createServer: (handler: http.RequestListener): net.Server => http.createServer(handler),
    options: {},
  },
  'HTTP/1.1 over TLS': {
    createServer: (handler: http.RequestListener): net.Server => https.createServer(certificate, handler),
    options: { allowUnauthorized: true },
  },
  'HTTP/2': {
    createServer: (handler: http.RequestListener): net.Server => http2.createServer(handler as never),
    options: {},
  },
  'HTTP/2 over TLS': {
    createServer: (handler: http.RequestListener): net.Server =>
      http2.createSecureServer(certificate, handler as never),
    options: { allowUnauthorized: true },
  },
};

let server: net.Server;
let sockets: Set<net.Socket>;
let handle: Handler;
/** Every request so far. */
let requests: Request[];
let responses: Response[];
let protocolOptions: OpenSseOptions;

function serve({ createServer, options }: (typeof protocols)[keyof typeof protocols]): void {
  protocolOptions = options;
  requests = [];
  responses = [];
  server = createServer((request, response) => {
    requests.push(request);
    responses.push(response);
    handle(response, request);
  });
  sockets = new Set();
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
}

/** Fails if the client has left a connection open. */
async function stop(): Promise<void> {
  try {
    await waitFor(() => sockets.size === 0, {
      describe: () => `the client to leave ${sockets.size} connections`,
    });
  } finally {
    for (const socket of sockets) {
      socket.destroy();
    }
    await new Promise((closed) => server.close(closed));
  }
}

function open(options: OpenSseOptions = {}): Promise<SseTestStream> {
  return openSse(server, '/events', { ...protocolOptions, ...options });
}

const eventStream = { 'content-type': 'text/event-stream' };

function stream(...chunks: string[]): Handler {
  return (response) => {
    response.writeHead(200, eventStream);
    response.flushHeaders?.();
    for (const chunk of chunks) {
      response.write(chunk);
    }
  };
}

/** Cuts the response. Over HTTP/2 it resets the stream alone. */
function cut(response: Response | http2.Http2ServerResponse): void {
  if ('stream' in response) {
    response.stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR);
  } else {
    response.destroy();
  }
}

async function rejectionOf(promise: Promise<unknown>): Promise<SseTestError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(SseTestError);
  return error as SseTestError;
}

describe.each(Object.entries(protocols))('a stream over %s', (_name, protocol) => {
  beforeEach(() => serve(protocol));
  afterEach(stop);

  it('is there as soon as the headers are', async () => {
    handle = (response) => {
      response.writeHead(200, { ...eventStream, 'x-custom': 'a' });
      // On HTTP/1.1, writeHead() alone sends nothing.
      response.flushHeaders?.();
    };

    const opened = await open();

    expect(opened).toMatchObject({
      status: 200,
      headers: { ...eventStream, 'x-custom': 'a' },
      raw: '',
      events: [],
    });
    expect(Object.keys(opened.headers).filter((name) => name.startsWith(':'))).toEqual([]);
    await opened.close();
  });

  it('gives events out in order, one by one, several at a time, and in a loop', async () => {
    handle = stream('data: 0\n\ndata: 1\n\ndata: 2\n\ndata: 3\n\n', 'data: 4\n\n');
    const opened = await open();

    expect((await opened.next()).data).toBe('0');
    expect((await opened.take(2)).map(({ data }) => data)).toEqual(['1', '2']);
    const inLoop: string[] = [];
    for await (const { data } of opened) {
      inLoop.push(data);
      if (data === '4') {
        break;
      }
    }
    expect(inLoop).toEqual(['3', '4']);
    expect(opened.ending).toBeUndefined();
    expect(opened.events.map(({ data }) => data)).toEqual(['0', '1', '2', '3', '4']);
    await opened.close();
  });

  it('shows types, ids, comments, retry and the bytes', async () => {
    const raw = 'retry: 3000\nevent: named\nid: 7\ndata: {"a":1}\n\n:\n: beat\nretry: 10\ndata: é\n\n';
    handle = stream(raw);
    const before = Date.now();
    const opened = await open();
    await opened.take(2);

    expect(opened).toMatchObject({
      comments: ['', 'beat'],
      retry: 10,
      retries: [3000, 10],
      lastEventId: '7',
      raw,
    });
    expect(opened.events).toMatchObject([
      { type: 'named', data: '{"a":1}', id: '7', lastEventId: '7' },
      { type: 'message', data: 'é', id: undefined, lastEventId: '7' },
    ]);
    expect(opened.events[0]!.json<{ a: number }>().a).toBe(1);
    expect(opened.events[1]!.receivedAt).toBeGreaterThanOrEqual(opened.events[0]!.receivedAt);
    expect(opened.events[0]!.receivedAt).toBeGreaterThan(before - 1_000);
    await opened.close();
  });

  it('ends as complete with the end of the answer', async () => {
    handle = (response) => {
      stream('data: a\n\n')(response, requests[0]!);
      response.end();
    };
    const opened = await open();

    expect(await opened.untilEnd()).toBe('complete');
    expect(await opened.body()).toBe('data: a\n\n');
    const all: string[] = [];
    for await (const { data } of opened) {
      all.push(data);
    }
    expect(all).toEqual(['a']);
    expect(opened.error).toBeUndefined();
    await opened.close();
    expect(opened.ending).toBe('complete');
  });

  it('ends as aborted when the server cuts it', async () => {
    handle = stream('data: a\n\n');
    const opened = await open();
    await opened.next();

    cut(responses[0]!);

    expect(await opened.untilEnd()).toBe('aborted');
    const error = await rejectionOf(opened.body());
    expect(error).toMatchObject({ code: 'ended', cause: opened.error });
    expect(error.message).toContain('The stream has ended: aborted');
    const iterator = opened[Symbol.asyncIterator]();
    await expect(iterator.next()).rejects.toMatchObject({ code: 'ended' });
    await opened.close();
    expect(opened.ending).toBe('aborted');
  });

  it('ends as aborted when the connection is lost', async () => {
    handle = stream('data: a\n\n');
    const opened = await open();
    await opened.next();

    for (const socket of sockets) {
      socket.destroy();
    }

    expect(await opened.untilEnd()).toBe('aborted');
    await opened.close();
  });

  it('ends as closed when it is closed, and the server learns of it', async () => {
    handle = stream('data: a\n\n');
    const opened = await open();
    await opened.next();
    const left = new Promise<void>((resolve) => responses[0]!.once('close', resolve));

    await opened.close();

    expect(opened.ending).toBe('closed');
    expect(await opened.untilEnd()).toBe('closed');
    await left;
    await opened.close();
  });

  it('closes after the end, too', async () => {
    handle = (response) => response.writeHead(204).end();
    const opened = await open();
    expect(await opened.body()).toBe('');

    await opened.close();

    await waitFor(() => sockets.size === 0);
    expect(opened.ending).toBe('complete');
  });

  it('closes while paused', async () => {
    handle = stream('data: a\n\n');
    const opened = await open();
    opened.pause();

    await opened.close();

    expect(opened.ending).toBe('closed');
  });

  it('is aborted, or never there, when the server breaks it off at its headers', async () => {
    handle = (response) => {
      stream()(response, requests[0]!);
      cut(response);
    };

    // Whether the headers arrive before the cut depends on the version of Node and on the network.
    const outcome = await open().then(
      async (opened) => {
        const ending = await opened.untilEnd();
        await opened.close();
        return ending;
      },
      ({ code }: SseTestError) => code,
    );

    expect(['aborted', 'unreachable']).toContain(outcome);
  });

  it('is closed by await using', async () => {
    handle = stream('data: a\n\n');
    const opened = await open();

    await opened[Symbol.asyncDispose]();

    expect(opened.ending).toBe('closed');
  });

  it('has no events where the answer is no event stream, and hands out its body', async () => {
    handle = (response) => {
      response.writeHead(404, { 'content-type': 'application/json' });
      response.end('{"data":\n\ndata: "a"}\n\n');
    };
    const opened = await open();

    expect(opened.status).toBe(404);
    expect(await opened.body()).toBe('{"data":\n\ndata: "a"}\n\n');
    const error = await rejectionOf(opened.next());
    expect(error.code).toBe('ended');
    expect(error.message).toContain('answered 404, application/json, which has no events');
    expect(error.message).toContain(String.raw`"{\"data\":`);
    await opened.close();
  });

  it('reads the content type as a browser does', async () => {
    handle = (response) => {
      response.writeHead(200, { 'content-type': 'Text/Event-Stream; charset=utf-8' });
      response.end('data: a\n\n');
    };
    const opened = await open();

    expect((await opened.next()).data).toBe('a');
    await opened.close();
  });

  it('sends what an EventSource sends, and what it is told to', async () => {
    handle = stream();
    const plain = await open();
    const special = await open({
      method: 'put',
      headers: { Accept: '*/*', 'X-Custom': 'a' },
      body: { a: 'é' },
      lastEventId: 'é€',
    });

    expect(requests[0]).toMatchObject({
      method: 'GET',
      url: '/events',
      headers: { accept: 'text/event-stream', 'cache-control': 'no-cache' },
    });
    expect(requests[0]!.headers['last-event-id']).toBeUndefined();
    expect(requests[1]).toMatchObject({
      method: 'PUT',
      headers: { accept: '*/*', 'x-custom': 'a', 'content-type': 'application/json' },
    });
    expect(Buffer.from(String(requests[1]!.headers['last-event-id']), 'latin1').toString()).toBe('é€');
    expect(await text(requests[1]!)).toBe('{"a":"é"}');
    await Promise.all([plain.close(), special.close()]);
  });

  it.each([
    ['a string', 'é', 'text/plain; charset=utf-8', 'é'],
    ['bytes', Buffer.from('é'), undefined, 'é'],
    ['a form', new URLSearchParams({ a: 'b c' }), 'application/x-www-form-urlencoded', 'a=b+c'],
    ['null', null, 'application/json', 'null'],
  ])('posts %s', async (_what, body, type, received) => {
    handle = stream();
    const opened = await open({ body });

    expect(requests[0]!.method).toBe('POST');
    expect(requests[0]!.headers['content-type']).toBe(type);
    expect(await text(requests[0]!)).toBe(received);
    await opened.close();
  });

  it('reconnects with the last id, once it has closed what was open', async () => {
    handle = stream('id: 7\ndata: a\n\ndata: b\n\n');
    const first = await open({ method: 'POST', body: { q: 1 }, headers: { 'x-custom': 'a' } });
    await first.take(2);

    const second = await first.reconnect();

    expect(first.ending).toBe('closed');
    expect(requests[1]).toMatchObject({ method: 'POST', headers: { 'last-event-id': '7', 'x-custom': 'a' } });
    expect(await text(requests[1]!)).toBe('{"q":1}');
    await second.close();
  });

  it('keeps the id over connections without one, and takes another or none where it is told to', async () => {
    handle = stream();
    const first = await open({ lastEventId: '3' });
    const second = await first.reconnect({ lastEventId: undefined });
    const third = await second.reconnect({ lastEventId: '5', headers: { 'x-custom': 'b' } });
    const fourth = await third.reconnect({ lastEventId: '' });

    expect(requests.map(({ headers }) => headers['last-event-id'])).toEqual(['3', '3', '5', undefined]);
    expect(requests[2]!.headers['x-custom']).toBe('b');
    await fourth.close();
  });

  it('stops reading while it is paused', async () => {
    let written = 0;
    const block = `data: ${'x'.repeat(64 * 1024)}\n\n`;
    let response!: Response;
    handle = (answer) => {
      response = answer;
      stream()(answer, requests[0]!);
    };
    const opened = await open();
    opened.pause();

    // Node may call the stream full while the kernel still takes megabytes: write until nothing moves for a while.
    const tooMuch = 1_024;
    let drains = 0;
    response.on('drain', () => (drains += 1));
    while (written < tooMuch) {
      written += 1;
      if (response.write(block)) {
        continue;
      }
      const before = drains;
      await waitFor(() => drains > before, { timeoutMs: 300 }).catch(() => undefined);
      if (drains === before) {
        break;
      }
    }
    expect(written).toBeLessThan(tooMuch);
    expect(opened.events.length).toBeLessThan(written);

    opened.resume();
    await opened.until(({ events }) => events.length === written);
    await opened.close();
  });

  it('closes when the signal fires, and leaves nothing on the signal', async () => {
    handle = stream();
    const signals = [new AbortController(), new AbortController()];
    const added = jest.spyOn(signals[1]!.signal, 'addEventListener');
    const removed = jest.spyOn(signals[1]!.signal, 'removeEventListener');
    const [first, second] = [
      await open({ signal: signals[0]!.signal }),
      await open({ signal: signals[1]!.signal }),
    ];

    signals[0]!.abort();

    expect(first.ending).toBe('closed');
    await second.close();
    await turn();
    expect(removed.mock.calls.map(([, listener]) => listener)).toEqual(
      added.mock.calls.map(([, listener]) => listener),
    );
    expect(added.mock.calls.length).toBeGreaterThan(0);
  });
});

describe('a wait', () => {
  beforeEach(() => serve(protocols['HTTP/1.1']));
  afterEach(stop);

  it('says at its deadline what was awaited, what came and how the stream stands', async () => {
    handle = stream('retry: 1\n: hello\nevent: named\ndata: a\n\n');
    const opened = await open({ timeoutMs: 60_000 });
    await opened.next();

    const error = await rejectionOf(opened.take(2, { timeoutMs: 20 }));

    expect(error.code).toBe('timeout');
    const { port } = server.address() as net.AddressInfo;
    expect(error.message).toBe(
      'Waited 20 ms for the next 2 events. ' +
        `GET http://127.0.0.1:${port}/events answered 200, text/event-stream. ` +
        String.raw`Characters: 39, the last "retry: 1\n: hello\nevent: named\ndata: a\n\n". ` +
        'Events: 1, given out: 1, the last: named "a". Comments: 1. The stream is open.',
    );
    await opened.close();
  });

  it('takes its deadline from the stream where it has none of its own', async () => {
    handle = stream();
    // Long, because it is the deadline of opening as well, on a machine that may be busy.
    const opened = await open({ timeoutMs: 500 });

    for (const wait of [opened.next(), opened.take(3), opened.until(() => false), opened.body()]) {
      expect((await rejectionOf(wait)).message).toContain('Waited 500 ms for');
    }
    await opened.close();
  });

  it('bounds what it quotes', async () => {
    handle = stream(`data: ${'x'.repeat(10_000)}\n\n`);
    const opened = await open();
    await opened.next();

    const error = await rejectionOf(opened.next({ timeoutMs: 10 }));

    expect(error.message).toContain('Characters: 10008');
    expect(error.message.length).toBeLessThan(1_000);
    await opened.close();
  });

  it('rejects at once on a stream that has ended, with how it did', async () => {
    handle = (response) => {
      stream('data: a\n\n')(response, requests[0]!);
      response.end();
    };
    const opened = await open({ timeoutMs: 60_000 });
    await opened.untilEnd();

    expect((await opened.next()).data).toBe('a');
    const error = await rejectionOf(opened.next());
    expect(error.code).toBe('ended');
    expect(error.message).toContain('Waited for the next event. ');
    expect(error.message).toContain('The stream has ended: complete.');
    await opened.close();
  });

  it('rejects when the stream ends meanwhile, and when it is closed', async () => {
    handle = stream('data: a\n\n');
    const [ending, closing] = [await open({ timeoutMs: 60_000 }), await open({ timeoutMs: 60_000 })];
    const waits = [ending, closing].flatMap((opened) => [
      opened.take(2),
      opened.until(() => false, { describe: 'pigs to fly' }),
      opened.body(),
    ]);
    await Promise.all([ending.until(hasEvent), closing.until(hasEvent)]);

    for (const response of responses.slice(0, 1)) {
      response.destroy();
    }
    await closing.close();

    const errors = await Promise.all(waits.map(rejectionOf));
    expect(errors.map(({ code }) => code)).toEqual(Array(6).fill('ended'));
    expect(errors[0]!.message).toContain('ended: aborted');
    expect(errors[1]!.message).toContain('Waited for pigs to fly.');
    expect(errors[3]!.message).toContain('ended: closed');
    await ending.close();
  });

  it('leaves the events that came to the next one when it fails', async () => {
    handle = stream('data: a\n\n');
    const opened = await open();

    await rejectionOf(opened.take(2, { timeoutMs: 20 }));

    expect((await opened.next()).data).toBe('a');
    await opened.close();
  });

  it('stands in line: the first that asked gets its events first', async () => {
    handle = stream();
    const opened = await open();
    const waits = [opened.take(2), opened.next(), opened[Symbol.asyncIterator]().next()] as const;

    responses[0]!.write('data: 0\n\n');
    await opened.until(hasEvent);
    responses[0]!.write('data: 1\n\ndata: 2\n\ndata: 3\n\n');

    expect(await Promise.all(waits)).toMatchObject([
      [{ data: '0' }, { data: '1' }],
      { data: '2' },
      { done: false, value: { data: '3' } },
    ]);
    await opened.close();
  });

  it('lets the one behind it have the events when its deadline passes', async () => {
    handle = stream('data: a\n\n');
    const opened = await open();
    const many = opened.take(2, { timeoutMs: 20 });
    const one = opened.next({ timeoutMs: 60_000 });

    await rejectionOf(many);

    expect((await one).data).toBe('a');
    await opened.close();
  });

  it('sees each state of the stream, also those within one chunk', async () => {
    handle = stream();
    const opened = await open();
    const two = opened.until(({ events }) => events.length === 2);

    responses[0]!.write('data: 0\n\ndata: 1\n\ndata: 2\n\n');

    expect(await two).toBe(opened);
    await opened.close();
  });

  it('asks a condition at once, after comments, after unfinished blocks and at the end', async () => {
    handle = stream();
    const opened = await open();
    await opened.until(({ status }) => status === 200);

    const [comment, partial, end] = [
      opened.until(({ comments }) => comments.includes('beat')),
      opened.until(({ raw }) => raw.endsWith('data: unfin')),
      opened.until(({ ending }) => ending === 'aborted'),
    ];
    responses[0]!.write(': beat\ndata: unfin');
    await Promise.all([comment, partial]);
    responses[0]!.destroy();

    await end;
    expect(opened.events).toEqual([]);
    await opened.close();
  });

  it('passes on what a condition throws', async () => {
    handle = stream('data: a\n\n');
    const opened = await open();
    const thrown = new RangeError('mine');

    const wait = opened.until(({ events }) => {
      if (events.length > 0) {
        throw thrown;
      }
      return false;
    });

    await expect(wait).rejects.toBe(thrown);
    await opened.close();
  });

  it('names a condition by its source where it has no other name', async () => {
    handle = stream();
    const opened = await open();

    const error = await rejectionOf(opened.until(({ events }) => events.length === 99, { timeoutMs: 10 }));

    expect(error.message).toContain('events.length === 99');
    await opened.close();
  });

  it('says that the stream is paused', async () => {
    handle = stream();
    const opened = await open();
    opened.pause();

    expect((await rejectionOf(opened.next({ timeoutMs: 10 }))).message).toContain(
      'The stream is open and paused.',
    );
    await opened.close();
  });

  it.each([0, -1, NaN, Infinity, 2 ** 31, '5' as never])('refuses %p as a deadline', async (timeoutMs) => {
    handle = stream();
    const opened = await open();

    for (const wait of [
      opened.next({ timeoutMs }),
      open({ timeoutMs }),
      waitFor(() => true, { timeoutMs }),
    ]) {
      expect(await rejectionOf(wait)).toMatchObject({
        code: 'argument-invalid',
        message: expect.stringMatching(/^timeoutMs must be .* got /),
      });
    }
    await opened.close();
  });

  it.each([0, -1, 1.5, NaN, '2' as never])('refuses to take %p events', async (count) => {
    handle = stream('data: a\n\n');
    const opened = await open();

    expect(await rejectionOf(opened.take(count))).toMatchObject({
      code: 'argument-invalid',
      message: `take() needs a whole number above 0, got ${count}.`,
    });
    expect((await opened.next()).data).toBe('a');
    await opened.close();
  });

  it('has a stack that begins in the test', async () => {
    handle = stream();
    const opened = await open();
    const places = await Promise.all(
      [
        opened.next({ timeoutMs: 10 }),
        opened.take(1, { timeoutMs: 10 }),
        opened.until(() => false, { timeoutMs: 10 }),
        opened.body({ timeoutMs: 10 }),
        waitFor(() => false, { timeoutMs: 10 }),
        openSse('http://127.0.0.1:1', '/'),
      ].map(async (wait) => (await rejectionOf(wait)).stack!.split('\n').find((line) => /^ +at /.test(line))),
    );

    expect(places).toEqual(Array(6).fill(expect.stringContaining('sse-test.stream.spec')));
    await opened.close();
    handle = (response) => response.destroy();
    const { stack } = await rejectionOf(opened.reconnect());
    expect(stack!.split('\n').find((line) => /^ +at /.test(line))).toContain('sse-test.stream.spec');
  });

  it('passes its deadline under fake timers, too', async () => {
    handle = stream();
    const opened = await open();
    jest.useFakeTimers();
    try {
      await rejectionOf(opened.next({ timeoutMs: 10 }));
      await rejectionOf(waitFor(() => false, { timeoutMs: 10 }));
      let asked = 0;
      expect(await waitFor(() => (asked += 1) > 30)).toBe(true);
    } finally {
      jest.useRealTimers();
    }
    await opened.close();
  });

  it('leaves no timer behind', async () => {
    handle = stream('data: a\n\n');
    const timeoutMs = 54_321;
    const deadlines = watchTimers(timeoutMs);
    const opened = await open({ timeoutMs });

    await opened.next();
    await waitFor(() => true, { timeoutMs });
    await rejectionOf(
      opened.until(() => {
        throw new SseTestError('ended', 'thrown by the condition');
      }),
    );
    const wait = opened.next();
    await opened.close();
    await rejectionOf(wait);
    await rejectionOf(opened.body());
    await rejectionOf(openSse('http://127.0.0.1:1', '/', { timeoutMs }));

    expect(deadlines.stop()).toEqual({ started: 7, running: 0 });
  });

  it('may be abandoned: its rejection is nobody’s', async () => {
    // The runner fails a test during which a rejection goes unhandled.
    handle = stream();
    const opened = await open();
    void opened.next({ timeoutMs: 5 });
    void opened.take(2, { timeoutMs: 5 });
    void opened.until(() => false, { timeoutMs: 5 });
    void opened.body({ timeoutMs: 5 });
    void opened[Symbol.asyncIterator]().next();
    void waitFor(() => false, { timeoutMs: 5 });
    void openSse('http://127.0.0.1:1', '/');

    await rejectionOf(opened.next({ timeoutMs: 50 }));
    handle = (response) => response.destroy();
    void opened.reconnect();
    await waitFor(() => requests.length === 2);
    await opened.close();
    for (let turns = 0; turns < 20; turns += 1) {
      await turn();
    }
  });
});

function hasEvent({ events }: SseTestStream): boolean {
  return events.length > 0;
}

/** Watches the timers of this duration that start from now on, by the fields that Node keeps in them. */
function watchTimers(durationMs: number): { stop(): { started: number; running: number } } {
  const timers: { _idleTimeout?: number; _destroyed?: boolean }[] = [];
  const hook = createHook({
    init(_id, type, _trigger, resource: { _idleTimeout?: number }) {
      if (type === 'Timeout' && resource._idleTimeout === durationMs) {
        timers.push(resource);
      }
    },
  }).enable();
  return {
    stop() {
      hook.disable();
      return { started: timers.length, running: timers.filter((timer) => !timer._destroyed).length };
    },
  };
}

describe('cuts on HTTP/1.1', () => {
  /** Answers each connection with exactly these bytes; keeps it open, ends it or resets it. */
  async function answerWith(bytes: string, then: 'stay' | 'end' | 'reset'): Promise<SseTestStream> {
    server = net.createServer((socket) => {
      sockets.add(socket);
      socket.on('close', () => sockets.delete(socket));
      socket.on('error', () => undefined);
      socket.once('data', () => {
        socket.write(bytes, () => {
          if (then === 'reset') {
            socket.resetAndDestroy();
          }
          if (then === 'end') {
            socket.end();
          }
        });
      });
    });
    sockets = new Set();
    return openSse(server, '/');
  }
  const head = 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n';
  afterEach(stop);

  it.each([
    [
      'the last chunk is missing',
      `${head}transfer-encoding: chunked\r\n\r\n9\r\ndata: a\n\n\r\n`,
      'end',
      'aborted',
    ],
    ['a chunk is cut', `${head}transfer-encoding: chunked\r\n\r\n99\r\ndata: a\n\n`, 'end', 'aborted'],
    ['the body is shorter than its length', `${head}content-length: 99\r\n\r\ndata: a\n\n`, 'end', 'aborted'],
    [
      'the connection is reset',
      `${head}transfer-encoding: chunked\r\n\r\n9\r\ndata: a\n\n\r\n`,
      'reset',
      'aborted',
    ],
    [
      'a chunk is malformed',
      `${head}transfer-encoding: chunked\r\n\r\n9\r\ndata: a\n\n\r\nno chunk`,
      'stay',
      'aborted',
    ],
    [
      'all chunks are there',
      `${head}transfer-encoding: chunked\r\n\r\n9\r\ndata: a\n\n\r\n0\r\n\r\n`,
      'stay',
      'complete',
    ],
    ['a body without a length ends with its connection', `${head}\r\ndata: a\n\n`, 'end', 'complete'],
  ] as const)('when %s', async (_what, bytes, then, ending) => {
    const opened = await answerWith(bytes, then);

    expect(await opened.untilEnd()).toBe(ending);
    expect(opened.events.length).toBe(1);
    expect(opened.error === undefined).toBe(ending === 'complete');
    await opened.close();
  });

  it('says why, where Node knows', async () => {
    const opened = await answerWith(`${head}transfer-encoding: chunked\r\n\r\nno chunk`, 'stay');

    const error = await rejectionOf(opened.next());

    expect(error.message).toMatch(/The stream has ended: aborted \(Parse Error: .*chunk/);
    expect(opened.error).toBe(error.cause);
    await opened.close();
  });

  it('rejects as unreachable when there is no whole head', async () => {
    const error = await rejectionOf(answerWith('HTTP/1.1 200 OK\r\n', 'end'));

    expect(error).toMatchObject({ code: 'unreachable', message: expect.stringContaining('/ failed: ') });
  });
});

describe('cuts on HTTP/2', () => {
  /** Answers with the stream of Node itself: the compatibility API sends the end of a stream some turns later. */
  async function answerWith(act: (answer: http2.ServerHttp2Stream) => unknown, options: OpenSseOptions = {}) {
    serve({ createServer: () => http2.createServer(), options });
    let answer!: http2.ServerHttp2Stream;
    server.on('stream', (opened: http2.ServerHttp2Stream) => {
      answer = opened;
      answer.on('error', () => undefined);
      answer.respond({ ':status': 200, ...eventStream });
      answer.write('data: a\n\n', () => act(answer));
    });
    const opened = await open();
    return { opened, answer };
  }
  afterEach(stop);

  it.each([
    ['the stream is reset with an error', (answer) => answer.destroy(new Error('mine')), 'aborted'],
    ['the stream is reset without an error, before its end', (answer) => answer.destroy(), 'aborted'],
    ['the session is destroyed', (answer) => answer.session!.destroy(), 'aborted'],
    ['the stream ends', (answer) => answer.end(), 'complete'],
    ['the stream is reset without an error, after its end', (answer) => answer.end().close(), 'complete'],
    [
      'the session is destroyed after the end',
      (answer) => answer.end(() => answer.session!.destroy()),
      'complete',
    ],
  ] as [string, (answer: http2.ServerHttp2Stream) => unknown, string][])(
    'when %s',
    async (_what, act, ending) => {
      const { opened } = await answerWith(act);

      expect(await opened.untilEnd()).toBe(ending);
      await opened.close();
    },
  );

  it('is complete where the end and a reset without an error came while it did not read', async () => {
    const { opened, answer } = await answerWith(() => undefined, { body: 'that the server does not read' });
    await opened.next();
    opened.pause();
    answer.end().close();
    await waitFor(() => answer.destroyed);
    // A round trip on the same connection: the client has received both frames by then.
    await new Promise((answered) => answer.session?.ping(answered) ?? answered(undefined));

    opened.resume();

    expect(await opened.untilEnd()).toBe('complete');
    await opened.close();
  });
});

describe('connections', () => {
  afterEach(stop);

  it.each(['HTTP/1.1 over TLS', 'HTTP/2 over TLS'] as const)(
    'refuses a certificate over %s by default',
    async (name) => {
      serve(protocols[name]);

      expect(await rejectionOf(open({ allowUnauthorized: false }))).toMatchObject({
        code: 'unreachable',
        message: expect.stringContaining('self-signed certificate'),
      });
    },
  );

  it('stays on an idle keep-alive connection until it is closed, as a browser does', async () => {
    serve(protocols['HTTP/1.1']);
    handle = (response) => response.writeHead(200, eventStream).end('data: a\n\n');
    const opened = await open();
    await opened.untilEnd();
    await turn();

    expect(sockets.size).toBe(1);
    expect(requests[0]!.headers.connection).toBe('keep-alive');
    await opened.close();
  });

  it('leaves with a reset where it is told to, on HTTP/1.1 and HTTP/2', async () => {
    for (const protocol of [protocols['HTTP/1.1'], protocols['HTTP/2']]) {
      serve(protocol);
      handle = stream('data: a\n\n');
      const opened = await open();
      await opened.next();
      const reset = new Promise((resolve) => {
        for (const socket of sockets) {
          socket.once('error', resolve);
        }
      });

      await opened.close({ reset: true });

      expect(await reset).toMatchObject({ code: 'ECONNRESET' });
      await stop();
    }
  });

  it.each(['HTTP/1.1 over TLS', 'HTTP/2 over TLS'] as const)(
    'refuses to reset %s, and stays open',
    async (name) => {
      serve(protocols[name]);
      handle = stream();
      const opened = await open();

      expect((await rejectionOf(opened.close({ reset: true }))).code).toBe('argument-invalid');
      expect(opened.ending).toBeUndefined();
      await opened.close();
    },
  );

  it('uses an agent of yours, and leaves its connections to it', async () => {
    serve(protocols['HTTP/1.1']);
    handle = (response) => response.writeHead(200, eventStream).end('data: a\n\n');
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    const ports = new Set<number | undefined>();
    for (let count = 0; count < 3; count += 1) {
      const opened = await open({ agent });
      await opened.body();
      await opened.close();
      ports.add(requests.at(-1)!.socket.remotePort);
    }
    expect(ports.size).toBe(1);

    handle = stream('data: a\n\n');
    const unfinished = await open({ agent });
    await unfinished.close();
    await waitFor(() => sockets.size === 0);
    agent.destroy();
  });

  it('leaves a finished exchange’s connection alone that serves the next one', async () => {
    serve(protocols['HTTP/1.1']);
    handle = (response) => response.writeHead(200, eventStream).end('data: a\n\n');
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    const first = await open({ agent });
    await first.body();
    handle = stream('data: b\n\n');
    const second = await open({ agent });

    await first.close();

    responses[1]!.write('data: c\n\n');
    expect((await second.take(2)).map(({ data }) => data)).toEqual(['b', 'c']);
    await second.close();
    agent.destroy();
  });

  it('carries many streams on an HTTP/2 session of yours, and closes one without the others', async () => {
    serve(protocols['HTTP/2']);
    handle = stream('data: a\n\n');
    const probe = await open();
    const { port } = server.address() as net.AddressInfo;
    await probe.close();
    const http2Session = http2.connect(`http://127.0.0.1:${port}`);
    const [first, second] = await Promise.all([open({ http2Session }), open({ http2Session })]);
    await Promise.all([first.next(), second.next()]);
    await waitFor(() => sockets.size === 1);
    const code = new Promise<number>((resolve) => {
      const { stream: closing } = responses[1] as unknown as http2.Http2ServerResponse;
      closing.once('close', () => resolve(closing.rstCode));
    });

    await first.close();

    expect(await code).toBe(http2.constants.NGHTTP2_CANCEL);
    responses[2]!.write('data: b\n\n');
    expect((await second.next()).data).toBe('b');
    expect((await rejectionOf(second.close({ reset: true }))).code).toBe('argument-invalid');
    await second.close();
    expect(http2Session.closed).toBe(false);
    await new Promise<void>((closed) => http2Session.close(closed));
  });

  it.each(['HTTP/1.1', 'HTTP/2'] as const)('leaves a server over %s that is frozen', async (name) => {
    serve(protocols[name]);
    handle = stream('data: a\n\n');
    await (await open()).close();
    const { port } = server.address() as net.AddressInfo;
    // A frozen server reads nothing, not even that the client leaves, and so never closes its own side.
    const between = net.createServer({ allowHalfOpen: true }, (socket) => {
      const onwards = net.connect(port, '127.0.0.1');
      socket.pipe(onwards).pipe(socket);
      socket.on('error', () => onwards.destroy());
      freeze = () => socket.unpipe().pause();
      destroy = () => onwards.destroy() && socket.destroy();
    });
    let freeze = (): unknown => undefined;
    let destroy = (): unknown => undefined;
    await new Promise<void>((listening) => between.listen(0, '127.0.0.1', listening));
    const { port: portBetween } = between.address() as net.AddressInfo;
    const opened = await openSse(`http://127.0.0.1:${portBetween}`, '/', { http2: name === 'HTTP/2' });
    await opened.next();
    freeze();

    await opened.close();

    expect(opened.ending).toBe('closed');
    destroy();
    await new Promise((closed) => between.close(closed));
  });

  it('takes nothing in after it has left, not even what was read before', async () => {
    serve(protocols['HTTP/1.1']);
    handle = stream();
    const agent = new http.Agent();
    const opened = await open({ agent });
    opened.pause();
    const [socket] = Object.values(agent.sockets).flat();
    const before = socket!.bytesRead;
    responses[0]!.write('data: a\n\n');
    await waitFor(() => socket!.bytesRead > before);

    const closed = opened.close();
    opened.resume();
    await closed;

    expect(opened.raw).toBe('');
  });

  it('tells the server over HTTP/2 that it cancels', async () => {
    serve(protocols['HTTP/2']);
    handle = stream('data: a\n\n');
    const opened = await open();
    await opened.next();
    const { stream: left } = responses[0] as unknown as http2.Http2ServerResponse;

    await opened.close();

    await waitFor(() => left.closed);
    expect(left.rstCode).toBe(http2.constants.NGHTTP2_CANCEL);
  });
});
