import 'reflect-metadata';
import * as http from 'node:http';
import * as http2 from 'node:http2';
import * as net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  Body,
  Controller,
  Module,
  RequestMethod,
  Sse,
  type INestApplication,
  type MessageEvent,
  type OnModuleInit,
} from '@nestjs/common';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { Test } from '@nestjs/testing';
import { concat, NEVER, Observable, of } from 'rxjs';
import { openSse, SseTestError, waitFor, type NestAppLike } from './index.js';

@Controller()
class EventsController implements OnModuleInit {
  isInitialised = false;
  left = 0;

  onModuleInit(): void {
    this.isInitialised = true;
  }

  @Sse('open')
  open(): Observable<MessageEvent> {
    const untilLeft = new Observable<never>(() => () => (this.left += 1));
    return concat(of({ data: { n: 1 }, id: 'a' }, { data: 'two', type: 'named' }), untilLeft);
  }

  @Sse('done')
  done(): Observable<MessageEvent> {
    return of<MessageEvent>({ data: 'only' });
  }

  @Sse('echo', { method: RequestMethod.POST })
  echo(@Body() body: unknown): Observable<MessageEvent> {
    return concat(of({ data: JSON.stringify(body) }), NEVER);
  }
}

@Module({ controllers: [EventsController] })
class EventsModule {}

async function createApp(adapter?: FastifyAdapter): Promise<INestApplication> {
  const module = await Test.createTestingModule({ imports: [EventsModule] }).compile();
  return adapter === undefined
    ? module.createNestApplication<NestExpressApplication>()
    : module.createNestApplication<NestFastifyApplication>(adapter);
}

const platforms = {
  Express: () => createApp(),
  Fastify: () => createApp(new FastifyAdapter()),
  'Fastify on HTTP/2': () => createApp(new FastifyAdapter({ http2: true } as never)),
};

async function rejectionOf(promise: Promise<unknown>): Promise<SseTestError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(SseTestError);
  return error as SseTestError;
}

describe.each(Object.entries(platforms))('a Nest app on %s', (_name, create) => {
  let app: INestApplication;
  beforeEach(async () => {
    app = await create();
  });
  afterEach(() => app.close());

  it('is initialised and listens on 127.0.0.1 where it did not yet, for two at once', async () => {
    const [stream, other] = await Promise.all([openSse(app, '/open'), openSse(app, '/open')]);

    expect(app.get(EventsController).isInitialised).toBe(true);
    expect(await app.getUrl()).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
    expect(stream.status).toBe(200);
    expect((await stream.next()).json()).toEqual({ n: 1 });
    expect(await stream.next()).toMatchObject({ type: 'named', data: 'two' });
    await Promise.all([stream.close(), other.close()]);
    await waitFor(() => app.get(EventsController).left === 2);
  });

  it('is initialised no second time, and its prefix is part of the path', async () => {
    app.setGlobalPrefix('api');
    await app.init();
    app.get(EventsController).isInitialised = false;

    const stream = await openSse(app, 'api/done?a=1');

    expect(await stream.body()).toContain('data: only\n\n');
    expect(app.get(EventsController).isInitialised).toBe(false);
    await stream.close();
  });

  it.each(['127.0.0.1', '0.0.0.0', '::1', '::'])(
    'is found where it listens on %s, also by its URL',
    async (host) => {
      await app.listen(0, host);
      const url = await app.getUrl();

      const byApp = await openSse(app, '/open');
      const byServer = await openSse(app.getHttpServer() as http.Server, '/open');
      const byUrl = await openSse(url, '/open', { http2: 'updateSettings' in app.getHttpServer() });

      for (const stream of [byApp, byServer, byUrl]) {
        expect((await stream.next()).id).toBe('a');
        await stream.close();
      }
      expect(await app.getUrl()).toBe(url);
    },
  );

  it('is sent a body by POST', async () => {
    const stream = await openSse(app, '/echo', { body: { prompt: 'é' } });

    expect((await stream.next()).json()).toEqual({ prompt: 'é' });
    await stream.close();
  });

  it('answers with its own errors', async () => {
    const stream = await openSse(app, '/nowhere');

    expect(stream.status).toBe(404);
    expect(JSON.parse(await stream.body())).toMatchObject({ statusCode: 404 });
    await stream.close();
  });
});

describe('an app that does not start', () => {
  it('passes its reason on, and is tried again the next time', async () => {
    const reasons = ['first', 'second'];
    const server = http.createServer();
    const app: NestAppLike = {
      getHttpServer: () => server,
      listen: () => Promise.reject(new Error(reasons.shift())),
    };

    for (const reason of ['first', 'second']) {
      const error = await rejectionOf(openSse(app, '/'));
      expect(error).toMatchObject({ code: 'unreachable', message: `Starting the server failed: ${reason}` });
      expect(error.cause).toEqual(new Error(reason));
    }
  });

  it('is waited for no longer than the deadline', async () => {
    const server = http.createServer();
    const app: NestAppLike = { getHttpServer: () => server, listen: () => new Promise(() => {}) };

    expect(await rejectionOf(openSse(app, '/', { timeoutMs: 20 }))).toMatchObject({
      code: 'timeout',
      message: 'Starting the server did not succeed within 20 ms.',
    });
  });
});

describe('a server of node:http', () => {
  let server: http.Server;
  let sockets: number;
  let handle: http.RequestListener;
  beforeEach(() => {
    sockets = 0;
    handle = (request, response) => response.end(request.url);
    server = http.createServer((request, response) => handle(request, response));
    server.on('connection', (socket) => {
      sockets += 1;
      socket.on('close', () => (sockets -= 1));
    });
  });
  afterEach(async () => {
    try {
      await waitFor(() => sockets === 0, { describe: () => `the client to leave ${sockets} connections` });
    } finally {
      server.closeAllConnections();
      await new Promise((closed) => server.close(closed));
    }
  });

  function url(): string {
    return `http://127.0.0.1:${(server.address() as net.AddressInfo).port}`;
  }

  async function answerOf(target: string | http.Server, path: string): Promise<string> {
    const stream = await openSse(target, path);
    const body = await stream.body();
    await stream.close();
    return body;
  }

  it('listens where it did not yet, for two at once', async () => {
    expect(await Promise.all([answerOf(server, '/a'), answerOf(server, '/b')])).toEqual(['/a', '/b']);
  });

  it.each([
    ['', '/a?b=c', '/a?b=c'],
    ['/', 'a', '/a'],
    ['/base', '/a', '/base/a'],
    ['/base/', 'a/ä b', '/base/a/%C3%A4%20b'],
    ['', '', '/'],
    ['', '?a', '/?a'],
  ])('is found by a base URL ending in %j and the path %j', async (end, path, asked) => {
    await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));

    expect(await answerOf(`${url()}${end}`, path)).toBe(asked);
  });

  it('is not followed to where it redirects', async () => {
    handle = (_request, response) => response.writeHead(307, { location: '/elsewhere' }).end();
    const stream = await openSse(server, '/');

    expect(stream).toMatchObject({ status: 307, headers: { location: '/elsewhere' } });
    await stream.close();
  });

  it('ends a HEAD at its headers', async () => {
    handle = (_request, response) => response.writeHead(200, { 'content-type': 'text/event-stream' }).end();
    const stream = await openSse(server, '/', { method: 'HEAD' });

    expect(await stream.untilEnd()).toBe('complete');
    await stream.close();
  });

  it('is given up when it does not answer within the deadline', async () => {
    handle = () => {};
    await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));

    const error = await rejectionOf(openSse(server, '/slow', { timeoutMs: 50 }));

    expect(error).toMatchObject({
      code: 'timeout',
      message: `GET ${url()}/slow did not succeed within 50 ms.`,
    });
  });

  it('is given up when the signal fires, before and while it is asked', async () => {
    const leaving = new AbortController();
    handle = () => leaving.abort();

    for (const signal of [leaving.signal, AbortSignal.abort()]) {
      expect((await rejectionOf(openSse(server, '/', { signal }))).code).toBe('aborted');
    }
  });

  it('rejects when it closes the connection without an answer', async () => {
    handle = (request) => request.socket.destroy();

    const error = await rejectionOf(openSse(server, '/'));

    expect(error).toMatchObject({ code: 'unreachable', message: `GET ${url()}/ failed: socket hang up` });
    expect(error.cause).toMatchObject({ code: 'ECONNRESET' });
  });

  it('rejects HTTP/2 to a server that does not speak it', async () => {
    expect((await rejectionOf(openSse(server, '/', { http2: true }))).code).toBe('unreachable');
  });

  it.each([
    ['a header', { headers: { 'x-custom': 'a\nb' } }],
    ['a method', { method: 'G T' }],
    ['a body', { body: 1n }],
  ])('refuses %s that cannot be sent', async (_what, options) => {
    expect((await rejectionOf(openSse(server, '/', options))).code).toBe('argument-invalid');
  });
});

describe('a server of node:http2', () => {
  let server: http2.Http2Server;
  let sessions: number;
  beforeEach(() => {
    sessions = 0;
    server = http2.createServer();
    server.on('session', (session) => {
      sessions += 1;
      session.on('close', () => (sessions -= 1));
    });
  });
  afterEach(async () => {
    await waitFor(() => sessions === 0, { describe: () => `the client to leave ${sessions} sessions` });
    await new Promise<void>((closed) => server.close(() => closed()));
  });

  it('is given up when it does not answer within the deadline', async () => {
    expect((await rejectionOf(openSse(server, '/', { timeoutMs: 50 }))).code).toBe('timeout');
  });

  it('is given up when the signal fires', async () => {
    const leaving = new AbortController();
    server.on('stream', () => leaving.abort());

    expect((await rejectionOf(openSse(server, '/', { signal: leaving.signal }))).code).toBe('aborted');
  });

  it('rejects when it resets the stream without an answer', async () => {
    server.on('stream', (stream) => {
      stream.on('error', () => undefined);
      stream.close(http2.constants.NGHTTP2_REFUSED_STREAM);
    });

    expect((await rejectionOf(openSse(server, '/'))).code).toBe('unreachable');
  });

  it('rejects HTTP/1.1 where that is asked for', async () => {
    expect((await rejectionOf(openSse(server, '/', { http2: false }))).code).toBe('unreachable');
  });

  it('refuses a header that cannot be sent, and leaves no session', async () => {
    const error = await rejectionOf(openSse(server, '/', { headers: { connection: 'keep-alive' } }));

    expect(error.code).toBe('argument-invalid');
  });
});

describe('a target that cannot be used', () => {
  it('says that nobody listens there', async () => {
    for (const http2 of [false, true]) {
      expect(await rejectionOf(openSse('http://127.0.0.1:1', '/', { http2 }))).toMatchObject({
        code: 'unreachable',
        message: expect.stringContaining('connect ECONNREFUSED 127.0.0.1:1'),
      });
    }
  });

  it.each(['', '/sse', 'localhost:3000', 'ftp://localhost'])('refuses %j as a base URL', async (base) => {
    expect(await rejectionOf(openSse(base, '/'))).toMatchObject({
      code: 'argument-invalid',
      message: `"${base}" is no base URL. It looks like http://127.0.0.1:3000.`,
    });
  });

  it('refuses what is no app, and says what to do', async () => {
    const module = await Test.createTestingModule({}).compile();

    for (const [target, message] of [
      [undefined, 'a base URL, got [object Undefined].'],
      [{}, 'a base URL, got [object Object].'],
      [Promise.resolve(), 'a base URL, got [object Promise]. Is an await missing?'],
      [module, 'a base URL, got [object Object]. Call createNestApplication() on the testing module.'],
    ] as const) {
      expect(await rejectionOf(openSse(target as never, '/'))).toMatchObject({
        code: 'argument-invalid',
        message: expect.stringContaining(message),
      });
    }
  });

  it('refuses a server on a Unix socket', async () => {
    const server = net.createServer();
    const path = join(tmpdir(), `open-sse-${process.pid}.sock`);
    await new Promise<void>((listening) => server.listen(path, listening));

    expect((await rejectionOf(openSse(server, '/'))).message).toBe(
      `The server listens on ${path}, where a port is needed. Let it listen on port 0.`,
    );
    await new Promise((closed) => server.close(closed));
  });
});
