import { AsyncLocalStorage } from 'node:async_hooks';
import { once } from 'node:events';
import type { EventEmitter } from 'node:events';
import { Agent } from 'node:http';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { afterEach, describe, expect, it } from '@jest/globals';
import {
  Body,
  Controller,
  Get,
  Header,
  HttpStatus,
  Injectable,
  NotFoundException,
  Param,
  Query,
  Req,
  RequestMethod,
  Res,
  Sse,
  SseSignal,
  UseGuards,
  UseInterceptors,
} from '@nestjs/common';
import type {
  CallHandler,
  CanActivate,
  ExecutionContext,
  INestApplication,
  LoggerService,
  NestInterceptor,
  PipeTransform,
} from '@nestjs/common';
import { EventSource } from 'eventsource';
import { SseModule, SseService } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import { EMPTY, interval, map, NEVER, Observable, of, throwError } from 'rxjs';
import { baseOf, closeAll, open } from '../support/apps/platforms.js';
import { served } from '../e2e/sse-routes/served.js';

/** Nest's own integration tests of @Sse(), in an app with the module. */

interface Reply {
  readonly raw?: Reply;
  statusCode: number;
  header(name: string, value: string): Reply;
  status(code: number): Reply;
  send(body?: unknown): unknown;
}

const requestId = new AsyncLocalStorage<string>();

class IsWhole implements PipeTransform<string> {
  async transform(value: string) {
    await Promise.resolve();
    if (!/^\d+$/.test(value)) {
      throw new NotFoundException(`No page ${value}.`);
    }
    return Number(value);
  }
}

@Injectable()
class Stamping implements NestInterceptor {
  intercept(context: ExecutionContext, next: CallHandler) {
    const reply = context.switchToHttp().getResponse<Reply>();
    reply.status(HttpStatus.ACCEPTED).header('x-name', 'set').header('content-type', 'application/json');
    return next.handle();
  }
}

/** Records what happens to one request, in order. */
@Injectable()
class Diary {
  readonly lines: string[] = [];
}

/** A guard that lets a request through when the test opens it. */
@Injectable()
class Gate implements CanActivate {
  arrived = 0;
  open!: () => void;
  readonly opened = new Promise<void>((resolve) => (this.open = resolve));

  async canActivate() {
    this.arrived += 1;
    await this.opened;
    return true;
  }
}

@Controller()
class Routes {
  release!: () => void;
  readonly released = new Promise<void>((resolve) => (this.release = resolve));

  constructor(private readonly diary: Diary) {}

  @Sse('hello')
  hello() {
    return interval(10).pipe(map(() => ({ data: { hello: 'world' } })));
  }

  @Sse('validated')
  validated(@Query('page', IsWhole) page: number) {
    return of({ data: { page } });
  }

  @Sse('empty')
  empty() {
    return EMPTY;
  }

  @Sse('burst')
  burst(@Query('count') count: string, @Query('size') size: string) {
    return new Observable((subscriber) => {
      for (let n = 0; n < Number(count); n++) {
        subscriber.next({ data: 'x'.repeat(Number(size)) });
      }
      subscriber.complete();
    });
  }

  @Sse('posted', { method: RequestMethod.POST })
  posted(@Body() body: { content: string }) {
    return of({ data: { content: body.content } });
  }

  @Sse('slow-setup')
  async slowSetup(@SseSignal() signal: AbortSignal) {
    this.diary.lines.push('setup');
    signal.addEventListener('abort', () => this.diary.lines.push('aborted'));
    await this.released;
    this.diary.lines.push('ready');
    return this.#producer();
  }

  @Sse('slow-setup', { method: RequestMethod.POST })
  slowSetupPost(@SseSignal() signal: AbortSignal, @Body() body: unknown) {
    this.diary.lines.push(JSON.stringify(body));
    return this.slowSetup(signal);
  }

  @Sse('slow-setup-of-a-generator')
  async slowSetupOfAGenerator(@SseSignal() signal: AbortSignal) {
    await this.slowSetup(signal);
    const { lines } = this.diary;
    return (async function* () {
      lines.push('subscribed');
      yield 'too late';
    })();
  }

  @Sse('streaming')
  streaming(@SseSignal() signal: AbortSignal) {
    signal.addEventListener('abort', () => this.diary.lines.push('aborted'));
    return this.#producer();
  }

  @Sse('completing')
  completing(@SseSignal() signal: AbortSignal) {
    signal.addEventListener('abort', () => this.diary.lines.push('aborted'));
    return of({ data: { chunk: 0 } }, { data: { chunk: 1 } });
  }

  @Sse('failing')
  failing(@SseSignal() signal: AbortSignal) {
    signal.addEventListener('abort', () => this.diary.lines.push('aborted'));
    return throwError(() => new NotFoundException());
  }

  @Sse('gated')
  @UseGuards(Gate)
  gated() {
    this.diary.lines.push('handler');
    return this.#producer();
  }

  @Sse('clumsy')
  clumsy() {
    return new Observable((subscriber) => {
      subscriber.next({ data: 'first' });
      return () => {
        this.diary.lines.push('teardown');
        throw new Error('The teardown failed.');
      };
    });
  }

  @Sse('header')
  @Header('x-name', 'set')
  @Header('content-type', 'application/json')
  header() {
    return of({ data: 'hello' });
  }

  @Sse('answered')
  answered(@Res() reply: Reply) {
    void reply.status(HttpStatus.NO_CONTENT).send();
    return NEVER;
  }

  @Sse('by-handler')
  byHandler(@Res({ passthrough: true }) reply: Reply) {
    reply.status(HttpStatus.ACCEPTED).header('x-name', 'set');
    return of({ data: 'hello' });
  }

  @Sse('bad-status')
  badStatus(@Res({ passthrough: true }) reply: Reply) {
    // Node refuses this status when the headers are sent.
    (reply.raw ?? reply).statusCode = 99;
    return of({ data: 'hello' });
  }

  @Sse('within')
  within() {
    return interval(5).pipe(map(() => ({ data: { requestId: requestId.getStore() } })));
  }

  @Sse('quiet')
  quiet(@Req() _request: object) {
    return this.#producer(false);
  }

  @Sse('quiet', { method: RequestMethod.POST })
  quietPost() {
    return this.#producer(false);
  }

  @Sse('rooms/:room')
  room(@Param('room') room: string) {
    return new Observable((subscriber) => {
      this.diary.lines.push(`${room} subscribed`);
      subscriber.next({ data: room });
      if (room === 'short') {
        subscriber.complete();
      }
      return () => this.diary.lines.push(`${room} left`);
    });
  }

  @Get('plain')
  plain() {
    return { plain: true };
  }

  #producer(isBusy = true) {
    return new Observable((subscriber) => {
      this.diary.lines.push('subscribed');
      const timer = isBusy ? setInterval(() => subscriber.next({ data: { hello: 'world' } }), 5) : undefined;
      return () => {
        clearInterval(timer);
        this.diary.lines.push('left');
      };
    });
  }
}

@Controller()
@UseInterceptors(Stamping)
class Stamped {
  @Sse('stamped')
  stamped() {
    return of({ data: 'hello' });
  }
}

const app = {
  imports: [SseModule.forRoot({ heartbeatMs: 50 })],
  controllers: [Routes],
  providers: [Diary, Gate],
};

class Recording implements LoggerService {
  readonly errors: string[] = [];
  log() {}
  warn() {}
  error(...message: unknown[]) {
    this.errors.push(message.map((part) => (part instanceof Error ? part.stack : String(part))).join(' '));
  }
}

/** A client that sends given bytes. */
async function dial(app: INestApplication): Promise<Socket & { received: string }> {
  const { port } = new URL(baseOf(app));
  const socket = Object.assign(connect(Number(port), '127.0.0.1'), { received: '' });
  socket.setEncoding('utf8').on('data', (text: string) => (socket.received += text));
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  return socket;
}

function get(path: string): string {
  return `GET ${path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n`;
}

/** Waits until exactly this has happened to a request. */
function untilLines(server: INestApplication, expected: string[]) {
  const { lines } = server.get(Diary);
  return waitFor(() => lines.length >= expected.length, {
    timeoutMs: 15_000,
    describe: () => `${expected.join(', ')}; got ${lines.join(', ')}`,
  }).then(() => expect(lines).toEqual(expected));
}

function connectionsOf(server: INestApplication) {
  return server.get(SseService).connections;
}

afterEach(closeAll);

describe.each(served)('as plain Nest on $name, an @Sse() route', ({ name, create, http2 }) => {
  if (!http2) {
    it('can be read by an EventSource, and ends with the app', async () => {
      const server = await create(app, { forceCloseConnections: true });
      const source = new EventSource(`${baseOf(server)}/hello`);
      const message = await new Promise<MessageEvent>((resolve) =>
        source.addEventListener('message', resolve),
      );
      expect(JSON.parse(message.data as string)).toEqual({ hello: 'world' });
      const ended = new Promise((resolve) => source.addEventListener('error', resolve));
      await server.close();
      await ended;
      source.close();
    });
  }

  it('answers with the status of a pipe that waits before it refuses', async () => {
    const server = await create(app);
    const refused = await open(server, '/validated?page=x');
    expect(refused.status).toBe(404);
    expect(refused.headers['content-type']).toMatch(/^application\/json/);
    const stream = await open(server, '/validated?page=7');
    expect((await stream.next()).json()).toEqual({ page: 7 });
  });

  it('sends the headers of a stream that ends without an event', async () => {
    const stream = await open(await create(app), '/empty');
    expect(await stream.ended).toBe('complete');
    expect(stream.status).toBe(200);
    expect(stream.headers).toMatchObject({
      'content-type': expect.stringMatching(/^text\/event-stream/),
      'cache-control': expect.stringContaining('no-cache'),
    });
    expect(stream.events).toEqual([]);
  });

  it('delivers a burst of large events whole', async () => {
    const stream = await open(await create(app), '/burst?count=12&size=65536');
    expect(await stream.ended).toBe('complete');
    expect(stream.events.map(({ data }) => data.length)).toEqual(Array.from({ length: 12 }, () => 65536));
  });

  it('streams the answer to a POST with a body', async () => {
    const stream = await open(await create(app), '/posted', { body: { content: 'chunk-0' } });
    expect(await stream.ended).toBe('complete');
    expect(stream.headers['content-type']).toMatch(/^text\/event-stream/);
    expect(stream.events.map((event) => event.json())).toEqual([{ content: 'chunk-0' }]);
  });

  describe('whose client leaves', () => {
    it.each([
      ['GET', '/slow-setup'],
      ['POST', '/slow-setup'],
      ['GET', '/slow-setup-of-a-generator'],
    ])(
      'while the handler prepares, aborts @SseSignal() and does not subscribe: %s %s',
      async (method, path) => {
        const server = await create(app);
        const { lines } = server.get(Diary);
        const body = method === 'POST' ? { question: 1 } : undefined;
        const before = body ? ['{"question":1}', 'setup'] : ['setup'];
        const leaving = new AbortController();
        const opening = open(server, path, { method, body, signal: leaving.signal });
        await untilLines(server, before);

        leaving.abort();
        await opening.then(
          (stream) => stream.close(),
          () => undefined,
        );
        await untilLines(server, [...before, 'aborted']);

        server.get(Routes).release();
        await waitFor(() => lines.includes('ready'));
        // The answer of a later request shows that nothing more follows.
        expect((await open(server, '/plain')).status).toBe(200);
        expect(lines).toEqual([...before, 'aborted', 'ready']);
        await waitFor(() => connectionsOf(server).size === 0);
      },
    );

    it('while a guard waits, is not subscribed to', async () => {
      const server = await create(app);
      const gate = server.get(Gate);
      const leaving = new AbortController();
      const opening = open(server, '/gated', { signal: leaving.signal });
      await waitFor(() => gate.arrived === 1);
      leaving.abort();
      await expect(opening).rejects.toMatchObject({ code: 'aborted' });
      // The server has noticed it, because it answers the next request.
      expect((await open(server, '/plain')).status).toBe(200);

      gate.open();
      const next = await open(server, '/gated');
      await next.next();
      await next.close();
      const { lines } = server.get(Diary);
      await waitFor(() => lines.includes('left'));
      expect(lines.filter((line) => line === 'subscribed')).toHaveLength(1);
      await waitFor(() => connectionsOf(server).size === 0);
    });

    it('while it streams, aborts @SseSignal() and unsubscribes, once', async () => {
      const server = await create(app);
      const stream = await open(server, '/streaming');
      await stream.next();
      await stream.close();
      const { lines } = server.get(Diary);
      await waitFor(() => lines.length === 3);
      expect([lines[0], ...lines.slice(1).toSorted()]).toEqual(['subscribed', 'aborted', 'left']);
      await waitFor(() => connectionsOf(server).size === 0);
      expect(lines).toHaveLength(3);
    });

    it('survives a teardown that throws', async () => {
      const logger = new Recording();
      const server = await create(app, { logger });
      const stream = await open(server, '/clumsy');
      await stream.next();
      await stream.close();
      await untilLines(server, ['teardown']);
      await waitFor(() => connectionsOf(server).size === 0);
      await waitFor(() => logger.errors.length > 0);
      expect(logger.errors.join()).toContain('The teardown failed.');
      expect((await open(server, '/plain')).status).toBe(200);
    });
  });

  it('aborts @SseSignal() once its stream has ended', async () => {
    const server = await create(app);
    const stream = await open(server, '/completing');
    expect(await stream.ended).toBe('complete');
    expect(stream.events.map((event) => event.json())).toEqual([{ chunk: 0 }, { chunk: 1 }]);
    await untilLines(server, ['aborted']);
  });

  it('aborts @SseSignal() if it fails before its first event', async () => {
    const server = await create(app);
    expect((await open(server, '/failing')).status).toBe(404);
    await untilLines(server, ['aborted']);
  });

  it.each(['/header', '/stamped', '/by-handler', '/bad-status'])(
    'sends the status and the headers that were set before its first event: %s',
    async (path) => {
      const answers = [];
      const controllers = path === '/stamped' ? [Stamped] : [Routes];
      for (const imports of [[], app.imports]) {
        const stream = await open(await create({ ...app, imports, controllers }), path);
        const { 'content-type': type, 'x-name': name } = stream.headers;
        answers.push({ status: stream.status, type, name });
      }
      expect(answers[1]).toEqual(answers[0]);
    },
  );

  it('may be answered by the handler itself', async () => {
    const server = await create(app);
    const stream = await open(server, '/answered');
    expect(stream.status).toBe(204);
    expect(await stream.body()).toBe('');
    await waitFor(() => connectionsOf(server).size === 0);
  });

  it('keeps the async context of the request', async () => {
    const server = await create(app, {
      configure: (server) => {
        server.use((_req: unknown, _res: unknown, next: () => void) => requestId.run('42', next));
      },
    });
    const stream = await open(server, '/within');
    expect((await stream.next()).json()).toEqual({ requestId: '42' });
  });

  if (!http2) {
    it('leaves no listener on a connection that is kept alive', async () => {
      const server = await create(app);
      const agent = new Agent({ keepAlive: true, maxSockets: 1 });
      const sockets = new Set<Socket>();
      const counts: number[] = [];
      (server.getHttpServer() as EventEmitter).on('request', ({ socket }: { socket: Socket }) => {
        sockets.add(socket);
        counts.push(listenersOf(socket));
      });
      for (const path of ['/completing', '/failing', '/empty', '/plain']) {
        for (let time = 0; time < 10; time++) {
          await (await open(server, path, { agent })).body();
        }
      }
      agent.destroy();
      expect(sockets.size).toBe(1);
      expect(Math.max(...counts)).toBe(counts[0]);
    });

    it('waits for its turn on a connection with pipelined requests', async () => {
      const server = await create(app);
      const client = await dial(server);
      client.write(get('/rooms/short') + get('/rooms/long') + get('/rooms/behind'));
      await waitFor(() => client.received.includes('data: long'));
      expect(client.received.indexOf('data: short')).toBeLessThan(client.received.indexOf('data: long'));
      expect(client.received).not.toContain('data: behind');
      expect(connectionsOf(server).size).toBe(2);

      client.destroy();
      const { lines } = server.get(Diary);
      await waitFor(() => lines.includes('long left') && lines.includes('behind left'));
      await waitFor(() => connectionsOf(server).size === 0);
    });

    // Fastify itself refuses a body whose type no parser takes.
    const unread = name.startsWith('Express') ? ['GET', 'POST'] : ['GET'];
    it.each(unread)('notices that a client left while the body of its %s is not read', async (method) => {
      const server = await create(app);
      const client = await dial(server);
      const body = 'x'.repeat(4_000_000);
      client.write(
        `${method} /quiet HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\n` +
          `Content-Length: ${body.length}\r\n\r\n`,
      );
      client.write(body);
      await waitFor(() => client.received.includes('retry: 3000'));
      client.resetAndDestroy();
      await untilLines(server, ['subscribed', 'left']);
      await waitFor(() => connectionsOf(server).size === 0);
    });

    it('releases the connection after HEAD, for the next request on it', async () => {
      const server = await create(app);
      const client = await dial(server);
      client.write(get('/quiet').replace('GET', 'HEAD') + get('/plain'));
      await waitFor(() => client.received.includes('{"plain":true}'));
      expect(client.received).toMatch(
        /^HTTP\/1\.1 200 OK\r\n(?:[^\r]+\r\n)*content-type: text\/event-stream/i,
      );
      client.destroy();
    });
  }
});

function listenersOf(emitter: EventEmitter): number {
  return emitter.eventNames().reduce((sum, name) => sum + emitter.listenerCount(name), 0);
}
