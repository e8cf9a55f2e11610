import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { EventEmitter, once } from 'node:events';
import { createServer, IncomingMessage, ServerResponse } from 'node:http';
import type { Server } from 'node:http';
import * as http2 from 'node:http2';
import { connect, Socket } from 'node:net';
import type { AddressInfo } from 'node:net';
import { Duplex, Readable } from 'node:stream';
import { waitFor } from 'nestjs-event-stream/testing';
import {
  concat,
  finalize,
  ignoreElements,
  lastValueFrom,
  NEVER,
  Observable,
  of,
  Subject,
  throwError,
} from 'rxjs';
import { TestScheduler } from 'rxjs/testing';
import { SseError } from '../errors/sse.error.js';
import { closeOn } from './close-on.js';
import type { RequestOrResponse } from '../http/exchange.js';

const DEADLINE_MS = 20_000;

const until = (condition: () => boolean, what: string) =>
  waitFor(condition, { timeoutMs: DEADLINE_MS, describe: what });

/** How many listeners an emitter has, of each event. */
function listenersOf(emitter: EventEmitter): Record<string, number> {
  return Object.fromEntries(
    emitter.eventNames().map((event) => [String(event), emitter.listenerCount(event)]),
  );
}

/** A source that emits nothing and never ends, and says whether it is running. */
class Producer {
  subscriptions = 0;
  running = 0;
  readonly source = new Observable<never>(() => {
    this.subscriptions++;
    this.running++;
    return () => this.running--;
  });

  /** The end of a stream of its values, which is only ever the operator's doing. */
  until(requestOrResponse: RequestOrResponse): Promise<void> {
    return lastValueFrom(this.source.pipe(closeOn(requestOrResponse), ignoreElements()), {
      defaultValue: undefined,
    });
  }
}

/** What a handler may have at hand, for one and the same exchange. */
type Pick = (req: IncomingMessage, res: ServerResponse) => RequestOrResponse;
const givens: Array<[string, Pick]> = [
  ["Node's request", (req) => req],
  ["Node's response", (_, res) => res],
  ["Express's request, which knows its response", (req, res) => Object.assign(req, { res })],
  ["Fastify's request", (req) => ({ raw: req })],
  ["Fastify's reply", (_, res) => ({ raw: res })],
];

/** Runs a marble test; what it expects of observables is checked when it returns. */
function inVirtualTime(test: Parameters<TestScheduler['run']>[0]): void {
  new TestScheduler((actual, expected) => expect(actual).toEqual(expected)).run(test);
}

describe('closeOn, in virtual time', () => {
  let socket: Duplex;
  let res: ServerResponse;

  beforeEach(() => {
    // It never says that it has written: a response that has been ended stays unfinished, as with a client that stalls.
    socket = new Duplex({ read() {}, write() {} });
    res = new ServerResponse(new IncomingMessage(socket as Socket));
    res.assignSocket(socket as Socket);
  });

  it('passes on what the source emits, and its completion', () => {
    inVirtualTime(({ cold, expectObservable, expectSubscriptions }) => {
      const source = cold('--a--b--|');
      expectObservable(source.pipe(closeOn(res))).toBe('--a--b--|');
      expectSubscriptions(source.subscriptions).toBe('^-------!');
    });
    expect(res.listenerCount('close')).toBe(0);
    expect(res.listenerCount('close')).toBe(0);
  });

  it("passes on the source's error", () => {
    inVirtualTime(({ cold, expectObservable, expectSubscriptions }) => {
      const source = cold('--a--#');
      expectObservable(source.pipe(closeOn(res))).toBe('--a--#');
      expectSubscriptions(source.subscriptions).toBe('^----!');
    });
    expect(res.listenerCount('close')).toBe(0);
  });

  it('completes and unsubscribes in the moment in which the client leaves', () => {
    inVirtualTime(({ cold, expectObservable, expectSubscriptions }) => {
      const source = cold('--a--b--c--d');
      cold('-------x').subscribe(() => socket.emit('close'));
      expectObservable(source.pipe(closeOn(res))).toBe('--a--b-|');
      expectSubscriptions(source.subscriptions).toBe('^------!');
    });
    expect(res.listenerCount('close')).toBe(0);
  });

  it('completes without subscribing where the client has left before', () => {
    socket.emit('close');
    inVirtualTime(({ cold, expectObservable, expectSubscriptions }) => {
      const source = cold('--a--b');
      expectObservable(source.pipe(closeOn(res))).toBe('|');
      expectSubscriptions(source.subscriptions).toBe([]);
    });
    expect(res.listenerCount('close')).toBe(0);
  });

  it('completes instead of passing on a value that comes after the end of the response', () => {
    inVirtualTime(({ cold, expectObservable, expectSubscriptions }) => {
      const source = cold('--a--b--c--d');
      cold('-------x').subscribe(() => res.end());
      expectObservable(source.pipe(closeOn(res))).toBe('--a--b--|');
      expectSubscriptions(source.subscriptions).toBe('^-------!');
    });
    expect(res.listenerCount('close')).toBe(0);
  });

  it('stops waiting when it is unsubscribed', () => {
    inVirtualTime(({ cold, expectObservable, expectSubscriptions }) => {
      const source = cold('--a--b--c--d');
      expectObservable(source.pipe(closeOn(res)), '^-----!').toBe('--a--b-');
      expectSubscriptions(source.subscriptions).toBe('^-----!');
    });
    expect(res.listenerCount('close')).toBe(0);
  });

  it('checks again at each subscription', () => {
    inVirtualTime(({ cold, expectObservable }) => {
      const closing = cold('--a--b--c').pipe(closeOn(res));
      cold('---x').subscribe(() => socket.emit('close'));
      expectObservable(closing, '^').toBe('--a|');
      expectObservable(closing, '----^').toBe('----|');
    });
    expect(res.listenerCount('close')).toBe(0);
  });

  it('ends a source that emits on and on in one turn', () => {
    const received: number[] = [];
    const endless = new Observable<number>((subscriber) => {
      for (let n = 1; !subscriber.closed; n++) {
        if (n > 100) {
          throw new Error('It was not ended.');
        }
        subscriber.next(n);
      }
    });

    endless.pipe(closeOn(res)).subscribe((n) => {
      received.push(n);
      if (n === 3) {
        res.end();
      }
    });

    expect(received).toEqual([1, 2, 3]);
    expect(res.listenerCount('close')).toBe(0);
  });

  it('stops waiting where the source has completed before subscribe() returns', () => {
    of(1, 2).pipe(closeOn(res)).subscribe();

    expect(res.listenerCount('close')).toBe(0);
  });

  it('waits with one listener however many streams there are, and with none when the last has ended', () => {
    const subjects = Array.from({ length: 50 }, () => new Subject<number>());
    let completed = 0;
    for (const subject of subjects) {
      subject.pipe(closeOn(res)).subscribe({ complete: () => completed++ });
    }
    const [first, ...others] = subjects;

    expect(res.listenerCount('close')).toBe(1);
    first?.complete();
    expect(res.listenerCount('close')).toBe(1);
    expect(completed).toBe(1);
    socket.emit('close');
    expect(completed).toBe(50);
    expect(others.some((subject) => subject.observed)).toBe(false);
    expect(res.listenerCount('close')).toBe(0);
  });

  it('lets the end of one stream end another', () => {
    const other = NEVER.pipe(closeOn(res)).subscribe();
    let completed = 0;
    NEVER.pipe(closeOn(res)).subscribe({ complete: () => other.unsubscribe() });
    NEVER.pipe(closeOn(res)).subscribe({ complete: () => completed++ });

    socket.emit('close');

    expect(completed).toBe(1);
    expect(res.listenerCount('close')).toBe(0);
  });
});

describe('closeOn, on node:http', () => {
  let server: Server;
  let clients: Socket[];
  let failures: unknown[];

  /** Serves, and returns what connects a client and sends these bytes. */
  async function serve(handler: (req: IncomingMessage, res: ServerResponse) => Promise<void> | void) {
    server = createServer((req, res) => {
      Promise.resolve(handler(req, res)).catch((error: unknown) => failures.push(error));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    return async (bytes: string) => {
      const client = connect(port, '127.0.0.1').setEncoding('utf8');
      clients.push(client);
      let received = '';
      client.on('data', (text: string) => (received += text));
      await once(client, 'connect');
      client.write(bytes);
      return {
        client,
        send: (more: string) => client.write(more),
        receives: (text: string) =>
          until(() => received.includes(text), `the client received ${JSON.stringify(text)}`),
      };
    };
  }

  beforeEach(() => {
    clients = [];
    failures = [];
  });

  afterEach(async () => {
    for (const client of clients) {
      client.destroy();
    }
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
    if (failures.length > 0) {
      throw new AggregateError(failures, 'A handler failed.');
    }
  });

  const GET = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n';
  const HEAD = 'HEAD / HTTP/1.1\r\nHost: x\r\n\r\n';
  const POST = 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello';

  describe.each(givens)('with %s', (_, given) => {
    it.each([
      ['resets the connection', (client: Socket) => client.resetAndDestroy()],
      ['closes it', (client: Socket) => client.end()],
    ])('completes and unsubscribes when the client of a GET %s', async (__, leave) => {
      const producer = new Producer();
      let ended = false;
      const open = await serve(async (req, res) => {
        res.flushHeaders();
        await producer.until(given(req, res));
        ended = true;
      });
      const { client, receives } = await open(GET);
      await receives('\r\n\r\n');
      await until(() => producer.running === 1, 'the handler subscribed');

      leave(client);

      await until(() => ended, 'the stream completed');
      expect(producer.running).toBe(0);
    });

    it('outlives the reading of a POST body, and completes when the client leaves', async () => {
      const producer = new Producer();
      const values = new Subject<string>();
      let ended = false;
      let requestClosed = false;
      const open = await serve(async (req, res) => {
        let body = '';
        for await (const chunk of req) {
          body += String(chunk);
        }
        await until(() => req.closed, 'the request closed');
        requestClosed = req.destroyed;
        values.pipe(closeOn(given(req, res))).subscribe((value) => res.write(value));
        values.next(`body: ${body}\n`);
        await producer.until(given(req, res));
        ended = true;
      });
      const { client, receives } = await open(POST);
      await receives('body: hello\n');
      values.next('later\n');
      await receives('later\n');
      expect({ requestClosed, ended, running: producer.running }).toEqual({
        requestClosed: true,
        ended: false,
        running: 1,
      });

      client.destroy();

      await until(() => ended, 'the stream completed');
      expect(producer.running).toBe(0);
      expect(values.observed).toBe(false);
    });

    it('completes when the response has been ended, while the connection stays', async () => {
      const producer = new Producer();
      const end = new Subject<void>();
      const sockets: Socket[] = [];
      const listeners: Array<Record<string, number>> = [];
      let ended = 0;
      const open = await serve(async (req, res) => {
        sockets.push(req.socket);
        listeners.push(listenersOf(req.socket));
        end.subscribe(() => res.end('done'));
        await producer.until(given(req, res));
        listeners.push(listenersOf(req.socket));
        ended++;
      });
      const { send, receives } = await open(GET);
      await until(() => producer.running === 1, 'the handler subscribed');

      end.next();

      await receives('done');
      await until(() => ended === 1, 'the stream completed');
      expect(producer.running).toBe(0);
      send(GET);
      await until(() => producer.running === 1, 'the handler subscribed again');
      expect(sockets[1]).toBe(sockets[0]);
      // Node's own listeners: the last is on for as long as a response has its turn.
      expect(listeners[2]).toEqual(listeners[0]);
    });

    it('completes without subscribing where the client left before', async () => {
      const producer = new Producer();
      let ended = false;
      const open = await serve(async (req, res) => {
        await once(req.socket, 'close');
        await producer.until(given(req, res));
        ended = true;
      });
      const { client } = await open(GET);
      client.end();

      await until(() => ended, 'the stream completed');
      expect(producer.subscriptions).toBe(0);
    });

    it('completes without subscribing in the turn in which the socket is destroyed', async () => {
      const producer = new Producer();
      let ended = false;
      let destroyedBefore: boolean | undefined;
      const open = await serve(async (req, res) => {
        req.socket.destroy();
        destroyedBefore = res.destroyed;
        await producer.until(given(req, res));
        ended = true;
      });
      await open(GET);

      await until(() => ended, 'the stream completed');
      expect(destroyedBefore).toBe(false);
      expect(producer.subscriptions).toBe(0);
    });

    it('completes without subscribing where the response was ended before, on a connection that is kept', async () => {
      const producer = new Producer();
      let ended = false;
      const open = await serve(async (req, res) => {
        res.end('done');
        await once(res, 'close');
        await producer.until(given(req, res));
        ended = !req.socket.destroyed;
      });
      await open(GET);

      await until(() => ended, 'the stream completed');
      expect(producer.subscriptions).toBe(0);
    });

    it('completes for a HEAD that has been answered', async () => {
      const producer = new Producer();
      let ended = false;
      const open = await serve(async (req, res) => {
        setImmediate(() => res.end());
        await producer.until(given(req, res));
        ended = true;
      });
      const { receives } = await open(HEAD);

      await receives('\r\n\r\n');
      await until(() => ended, 'the stream completed');
      expect(producer.running).toBe(0);
    });

    it.each([
      ['completes', of(1)],
      ['fails', throwError(() => new Error('of the source'))],
      ['is unsubscribed', NEVER],
    ])('leaves no listener behind when the source %s', async (how, source) => {
      let found: unknown[] | undefined;
      const open = await serve((req, res) => {
        const emitters = [req, res, req.socket];
        const requestOrResponse = given(req, res);
        const before = emitters.map(listenersOf);
        const subscription = source.pipe(closeOn(requestOrResponse)).subscribe({ error: () => {} });
        const during = emitters.map(listenersOf);
        subscription.unsubscribe();
        found = [before, emitters.map(listenersOf), during];
        res.end();
      });
      await open(GET);
      await until(() => found !== undefined, 'the handler ran');
      const [before, after, during] = found as unknown[];

      expect(after).toEqual(before);
      // Node passes on to the response that the socket has closed: there is no need to listen to both.
      expect((during as unknown[])[2]).toEqual((before as unknown[])[2]);
      expect(JSON.stringify(during) !== JSON.stringify(before)).toBe(how === 'is unsubscribed');
    });

    it('leaves the listeners of a connection where they were after ten thousand requests', async () => {
      const REQUESTS = 10_000;
      const sockets = new Set<Socket>();
      const listeners: Array<Record<string, number>> = [];
      let completed = 0;
      let most = 0;
      const open = await serve((req, res) => {
        sockets.add(req.socket);
        if (listeners.length < 2) {
          listeners.push(listenersOf(req.socket));
        }
        const requestOrResponse = given(req, res);
        // Of two streams, one ends by itself, and one with the response.
        of(1).pipe(closeOn(requestOrResponse)).subscribe();
        NEVER.pipe(closeOn(requestOrResponse)).subscribe({ complete: () => completed++ });
        most = Math.max(most, req.socket.listenerCount('close'));
        res.end('!');
      });
      const { client, send } = await open(GET);
      let received = '';
      let answered = 0;
      client.on('data', (text: string) => {
        received += text;
        if (!received.endsWith('\r\n\r\n!')) {
          return;
        }
        received = '';
        if (++answered < REQUESTS) {
          send(GET);
        }
      });

      await until(() => completed === REQUESTS, 'ten thousand streams completed');
      const [socket] = sockets;
      // Of the second request: at the first, Node had not yet put on all of its own.
      const before = listeners[1]!;
      expect(sockets.size).toBe(1);
      // One of them is Node's own, on for as long as a response has its turn.
      expect(listenersOf(socket!)).toEqual({ ...before, close: before['close']! - 1 });
      expect(most).toBeLessThanOrEqual(before['close']! + 1);
    });

    describe('pipelined', () => {
      it('completes with its own response and with no other', async () => {
        const producers = [new Producer(), new Producer(), new Producer()];
        const responses: ServerResponse[] = [];
        const ended: number[] = [];
        const open = await serve(async (req, res) => {
          const index = responses.push(res) - 1;
          await producers[index]!.until(given(req, res));
          ended.push(index);
        });
        const { receives } = await open(GET + GET + GET);
        await until(() => producers.every(({ running }) => running === 1), 'three handlers subscribed');

        responses[0]?.end('first');
        await receives('first');
        await until(() => ended.length === 1, 'the first completed');
        expect(producers.map(({ running }) => running)).toEqual([0, 1, 1]);
        responses[1]?.end('second');
        await receives('second');
        await until(() => ended.length === 2, 'the second completed');
        expect(producers.map(({ running }) => running)).toEqual([0, 0, 1]);
        responses[2]?.end('third');
        await receives('third');
        await until(() => ended.length === 3, 'the third completed');
        expect(ended).toEqual([0, 1, 2]);
      });

      it('completes when the client leaves, also for those whose turn has not come', async () => {
        const producer = new Producer();
        let ended = 0;
        let listeners: Record<string, number> | undefined;
        let socket: Socket | undefined;
        const open = await serve(async (req, res) => {
          socket = req.socket;
          listeners ??= listenersOf(socket);
          await producer.until(given(req, res));
          ended++;
        });
        const { client } = await open(GET.repeat(30));
        await until(() => producer.running === 30, 'thirty handlers subscribed');
        // One for all who wait, not one for each.
        expect(socket!.listenerCount('close')).toBeLessThanOrEqual(listeners!['close']! + 1);

        client.destroy();

        await until(() => ended === 30, 'all thirty completed');
        expect(producer.running).toBe(0);
        expect(socket!.listenerCount('finish')).toBe(listeners!['finish'] ?? 0);
      });
    });
  });

  it('serves a POST whose body comes after the stream has begun', async () => {
    const producer = new Producer();
    let ended = false;
    let body = '';
    const open = await serve(async (req) => {
      req.on('data', (chunk) => (body += String(chunk)));
      await producer.until(req);
      ended = true;
    });
    const { client, send } = await open('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhe');
    await until(() => producer.running === 1 && body === 'he', 'the first part of the body came');

    send('llo');
    await until(() => body === 'hello', 'the body was read');
    await new Promise((resolve) => setImmediate(resolve));
    expect(producer.running).toBe(1);
    client.destroy();

    await until(() => ended, 'the stream completed');
  });
});

describe('closeOn, on node:http2', () => {
  let server: http2.Http2Server;
  let session: http2.ClientHttp2Session;
  type Handler = (req: http2.Http2ServerRequest, res: http2.Http2ServerResponse) => Promise<void> | void;
  let handle: Handler;
  let failures: unknown[];

  beforeEach(async () => {
    failures = [];
    server = http2.createServer((req, res) => {
      Promise.resolve(handle(req, res)).catch((error: unknown) => failures.push(error));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    session = http2.connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    await once(session, 'connect');
  });

  afterEach(async () => {
    if (!session.destroyed) {
      session.destroy();
      await once(session, 'close');
    }
    server.close();
    await once(server, 'close');
    if (failures.length > 0) {
      throw new AggregateError(failures, 'A handler failed.');
    }
  });

  type Pick2 = (req: http2.Http2ServerRequest, res: http2.Http2ServerResponse) => RequestOrResponse;
  const givens2: Array<[string, Pick2]> = [
    ["Node's request", (req) => req],
    ["Node's response", (_, res) => res],
    ["Fastify's request", (req) => ({ raw: req })],
    ["Fastify's reply", (_, res) => ({ raw: res })],
  ];

  describe.each(givens2)('with %s', (_, given) => {
    it.each([
      [
        'resets its stream',
        (stream: http2.ClientHttp2Stream) => stream.close(http2.constants.NGHTTP2_CANCEL),
      ],
      ['destroys its session', () => session.destroy()],
    ])('completes when the client of a POST whose body was read %s', async (__, leave) => {
      const producer = new Producer();
      let ended = false;
      let body = '';
      handle = async (req, res) => {
        for await (const chunk of req) {
          body += String(chunk);
        }
        res.writeHead(200);
        res.write('open');
        await producer.until(given(req, res));
        ended = true;
      };
      const stream = session.request({ ':method': 'POST' });
      stream.end('hello');
      await once(stream, 'data');
      await until(() => producer.running === 1, 'the handler subscribed');

      leave(stream);

      await until(() => ended, 'the stream completed');
      expect(body).toBe('hello');
      expect(producer.running).toBe(0);
    });

    it('completes with its own stream, while another of the session goes on', async () => {
      const producers = new Map<string, Producer>();
      const ended: string[] = [];
      handle = async (req, res) => {
        const producer = new Producer();
        producers.set(req.url, producer);
        res.writeHead(200);
        res.write('open');
        await producer.until(given(req, res));
        ended.push(req.url);
      };
      const [one, two] = [session.request({ ':path': '/one' }), session.request({ ':path': '/two' })];
      await Promise.all([once(one, 'data'), once(two, 'data')]);

      one.close(http2.constants.NGHTTP2_CANCEL);

      await until(() => ended.length === 1, 'one completed');
      expect(ended).toEqual(['/one']);
      expect(producers.get('/two')?.running).toBe(1);
    });

    it('completes when the response has been ended, also where the client goes on sending', async () => {
      const producer = new Producer();
      let ended = false;
      handle = async (req, res) => {
        req.on('data', () => res.end('enough'));
        await producer.until(given(req, res));
        ended = true;
      };
      const stream = session.request({ ':method': 'POST' });
      stream.write('hello');

      await once(stream, 'data');
      await until(() => ended, 'the stream completed');
      expect(stream.closed).toBe(false);
      expect(producer.running).toBe(0);
    });

    it('completes without subscribing where the client left, or the response was ended, before', async () => {
      const producer = new Producer();
      let ended = 0;
      handle = async (req, res) => {
        if (req.url === '/left') {
          await once(req.stream, 'close');
        } else {
          res.end('done');
        }
        await producer.until(given(req, res));
        ended++;
      };
      const left = session.request({ ':path': '/left' });
      const answered = session.request({ ':path': '/answered' });
      await once(answered, 'data');
      left.close(http2.constants.NGHTTP2_CANCEL);

      await until(() => ended === 2, 'both completed');
      expect(producer.subscriptions).toBe(0);
    });

    it('completes without subscribing in the turn in which the client resets its stream', async () => {
      const producer = new Producer();
      let ended = false;
      handle = (req, res) => {
        // In the event itself: a moment later the stream's writable side has ended, too.
        req.on('aborted', () => void producer.until(given(req, res)).then(() => (ended = true)));
      };
      const stream = session.request({});
      setTimeout(() => stream.close(http2.constants.NGHTTP2_CANCEL), 0);

      await until(() => ended, 'the stream completed');
      expect(producer.subscriptions).toBe(0);
    });

    it('leaves no listener behind', async () => {
      let found: unknown[] = [];
      handle = (req, res) => {
        const before = listenersOf(req.stream);
        of(1)
          .pipe(closeOn(given(req, res)))
          .subscribe();
        NEVER.pipe(closeOn(given(req, res)))
          .subscribe()
          .unsubscribe();
        found = [before, listenersOf(req.stream)];
        res.end('done');
      };
      await once(session.request({}), 'data');

      expect(found[1]).toEqual(found[0]);
    });
  });
});

describe('closeOn, given something else', () => {
  it('ignores a simulated request without a connection', () => {
    const request = Object.assign(new Readable(), {
      headers: {},
      httpVersion: '1.1',
      socket: { remoteAddress: '::1' },
    });
    const values: number[] = [];

    of(1, 2)
      .pipe(
        closeOn(request as unknown as IncomingMessage),
        finalize(() => values.push(0)),
      )
      .subscribe((value) => values.push(value));

    expect(values).toEqual([1, 2, 0]);
  });

  it('finds the response of a simulated request where the request knows it, as in Express', () => {
    const response = Object.assign(new EventEmitter(), {
      writeHead() {},
      writableEnded: false,
      destroyed: false,
    });
    const request = Object.assign(new Readable(), {
      headers: {},
      httpVersion: '1.1',
      socket: {},
      res: response,
    });
    let completed = 0;
    NEVER.pipe(closeOn(request as unknown as IncomingMessage)).subscribe({ complete: () => completed++ });

    response.emit('close');

    expect(completed).toBe(1);
  });

  it('takes the end of a simulated response from its events alone', () => {
    const response = Object.assign(new EventEmitter(), {
      writeHead() {},
      writableEnded: false,
      destroyed: false,
    });
    let completed = 0;
    concat(of(1), NEVER)
      .pipe(closeOn(response as unknown as ServerResponse))
      .subscribe({ complete: () => completed++ });

    expect(completed).toBe(0);
    response.emit('close');
    expect(completed).toBe(1);
  });

  it.each([
    ['undefined', undefined, 'got undefined'],
    ['null', null, 'got null'],
    ['a string', 'req', 'got "req"'],
    ['a function', () => 1, 'got a function'],
    ['an array', [], 'got an array'],
    ['an object', { url: '/' }, 'got an object.'],
    ['an object without a prototype', Object.create(null), 'got an object.'],
    ['an emitter', new EventEmitter(), 'got an object of class "EventEmitter"'],
    ['a socket', new Socket(), 'got an object of class "Socket"'],
    ['a signal', new AbortController().signal, 'got an object of class "AbortSignal"'],
    ['a wrapper around something else', { raw: 'text' }, 'got an object.'],
  ])('refuses %s', (_, given, message) => {
    let error: unknown;
    try {
      closeOn(given as unknown as IncomingMessage);
    } catch (thrown) {
      error = thrown;
    }

    expect(error).toBeInstanceOf(SseError);
    expect((error as SseError).code).toBe('misuse');
    expect((error as SseError).message).toContain(message);
  });
});
