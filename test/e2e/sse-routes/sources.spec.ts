import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { setImmediate as nextTurn, setTimeout as delay } from 'node:timers/promises';
import { afterEach, describe, expect, it } from '@jest/globals';
import {
  Controller,
  Injectable,
  Param,
  Query,
  Req,
  RequestMethod,
  Res,
  Sse,
  UseInterceptors,
} from '@nestjs/common';
import type { CallHandler, ExecutionContext, NestInterceptor } from '@nestjs/common';
import { closeOn, Connection, SseModule, SseService } from 'nestjs-event-stream';
import type { SseConnection } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import { defer, finalize, interval, map, NEVER, of, tap } from 'rxjs';
import request from 'supertest';
import { closeAll, open } from '../../support/apps/platforms.js';
import { served } from './served.js';

const KIB = 1024;

@Injectable()
class Seen {
  readonly items: unknown[] = [];
}

/** Stands between the handler and the client, as interceptors of an app do. */
@Injectable()
class Watching implements NestInterceptor {
  constructor(private readonly seen: Seen) {}

  intercept(_context: ExecutionContext, next: CallHandler) {
    return next.handle().pipe(tap((item) => this.seen.items.push(item)));
  }
}

@Controller()
class Sources {
  stopped: string[] = [];
  readonly waiting: SseConnection[] = [];
  produced = 0;
  subscriptions = 0;

  @Sse('observable')
  observable() {
    return interval(5).pipe(
      map((n) => ({ data: { n } })),
      finalize(() => this.stopped.push('observable')),
    );
  }

  @Sse('promise')
  async promise() {
    await delay(5);
    return this.observable();
  }

  @Sse('ended')
  ended() {
    return of({ data: 1 }, { data: 2 }, { data: 3 });
  }

  @Sse('empty')
  empty() {
    return of();
  }

  @Sse('generator')
  async *generator() {
    try {
      for (let n = 0; ; n++) {
        yield { data: { n } };
        await delay(5);
      }
    } finally {
      this.stopped.push('generator');
    }
  }

  @Sse('promised-generator')
  async promisedGenerator() {
    await delay(5);
    return this.generator();
  }

  @Sse('ended-generator')
  async *endedGenerator() {
    yield { data: 1 };
    yield 'two';
    yield { message: 'three' };
  }

  @Sse('waiting-generator')
  async *waitingGenerator(@Connection() { signal }: SseConnection) {
    try {
      yield { data: 'first' };
      await delay(3_600_000, undefined, { signal });
    } finally {
      this.stopped.push('waiting-generator');
    }
  }

  @Sse('late/:kind')
  async late(@Param('kind') kind: string, @Connection() connection: SseConnection) {
    this.waiting.push(connection);
    await connection.closed;
    await delay(5);
    switch (kind) {
      case 'web':
        return new ReadableStream({ cancel: () => void this.stopped.push('web') }, { highWaterMark: 0 });
      case 'node':
        return new Readable({
          objectMode: true,
          read: () => undefined,
          destroy: (_error, done) => {
            this.stopped.push('node');
            done();
          },
        });
      default:
        return {
          next: () => undefined,
          return: async () => void this.stopped.push('cursor'),
          [Symbol.asyncIterator]() {
            return this;
          },
        };
    }
  }

  @Sse('iterable')
  iterable(): AsyncIterable<unknown> {
    const stopped = this.stopped;
    let n = 0;
    return {
      [Symbol.asyncIterator]: () => ({
        next: async () => {
          await delay(5);
          return { done: false, value: { data: n++ } };
        },
        return: async () => {
          stopped.push('iterable');
          return { done: true, value: undefined };
        },
      }),
    };
  }

  @Sse('web-stream')
  webStream() {
    return new ReadableStream<unknown>({
      pull: async (controller) => {
        await delay(5);
        controller.enqueue({ data: this.produced++ });
      },
      cancel: () => void this.stopped.push('web-stream'),
    });
  }

  @Sse('node-stream')
  nodeStream() {
    return Readable.from(['one', 'two']);
  }

  @Sse('large')
  async *large(@Query('count') count: string) {
    const text = 'x'.repeat(64 * KIB);
    for (; this.produced < Number(count); this.produced++) {
      yield { data: text };
    }
  }

  @Sse('closing')
  closing(@Req() request: object) {
    return this.observable().pipe(
      closeOn(request as Parameters<typeof closeOn>[0]),
      tap({ complete: () => this.stopped.push('completed') }),
    );
  }

  @Sse('closing', { method: RequestMethod.POST })
  closingPost(@Req() request: object) {
    return this.closing(request);
  }

  @Sse('rooms/:room')
  room(@Param('room') room: string, @Res() response: { header(name: string, value: string): unknown }) {
    return of({ data: { room, hasResponse: typeof response.header === 'function' } });
  }

  @Sse('plain-value')
  plainValue() {
    return { data: 'alone' };
  }

  @Sse('quiet')
  quiet() {
    return defer(() => {
      this.subscriptions += 1;
      return NEVER;
    }).pipe(finalize(() => this.stopped.push('quiet')));
  }
}

@Controller()
@UseInterceptors(Watching)
class Watched {
  @Sse('watched')
  async *watched() {
    yield* [{ data: 0 }, { data: 1 }];
  }
}

const app = { imports: [SseModule.forRoot()], controllers: [Sources] };

afterEach(closeAll);

describe.each(served)('the sources of an @Sse() route on $name', ({ name, create, http2 }) => {
  it.each(['observable', 'promise', 'generator', 'promised-generator', 'iterable', 'web-stream'])(
    'streams %s one by one, and stops it when the client leaves',
    async (path) => {
      const server = await create(app);
      const { stopped } = server.get(Sources);
      const stream = await open(server, `/${path}`);
      const events = await stream.take(3);
      expect(stream.status).toBe(200);
      expect(stream.headers['content-type']).toMatch(/^text\/event-stream/);
      expect(events.map((event) => event.data.replace(/\D/g, ''))).toEqual(['0', '1', '2']);
      expect(stopped).toEqual([]);

      await stream.close();

      await waitFor(() => stopped.length === 1);
      await waitFor(() => server.get(SseService).connections.size === 0);
    },
  );

  it.each([
    ['ended', ['1', '2', '3']],
    ['ended-generator', ['1', 'two', '{"message":"three"}']],
    ['node-stream', ['one', 'two']],
    ['empty', []],
  ])('ends the response after the last item of %s', async (path, data) => {
    const server = await create(app);
    const stream = await open(server, `/${path}`);
    expect(await stream.ended).toBe('complete');
    expect(stream.status).toBe(200);
    expect(stream.events.map((event) => event.data)).toEqual(data);
    expect(stream.raw).toMatch(/^retry: 3000\n/);
    expect(server.get(SseService).connections.size).toBe(0);
  });

  it('passes the items of a generator through the interceptors of the app one by one', async () => {
    const server = await create({ ...app, controllers: [Watched], providers: [Seen] });
    await (await open(server, '/watched')).take(2);
    expect(server.get(Seen).items).toEqual([{ data: 0 }, { data: 1 }]);
  });

  it('stops a generator that waits, by the signal of @Connection()', async () => {
    const server = await create(app);
    const stream = await open(server, '/waiting-generator');
    await stream.next();
    await stream.close();
    await waitFor(() => server.get(Sources).stopped.length === 1);
  });

  it('pulls a generator no faster than the client reads', async () => {
    const count = 400;
    const server = await create(app);
    const sources = server.get(Sources);
    const stream = await open(server, `/large?count=${count}`, { timeoutMs: 25_000 });
    stream.pause();

    const [connection] = server.get(SseService).connections;
    await waitFor(() => isBehind(connection!));
    expect(sources.produced).toBeLessThan(count);

    // If it had gone on, the connection would be closed by now: 25 MiB are more than maxBufferedBytes.
    stream.resume();
    expect(await stream.ended).toBe('complete');
    expect(stream.events).toHaveLength(count);
  });

  it.each(['GET', 'POST'])(
    'completes a stream with closeOn(req) when the client of a %s leaves',
    async (method) => {
      const server = await create(app);
      const { stopped } = server.get(Sources);
      const body = method === 'POST' ? { question: 'why' } : undefined;
      const stream = await open(server, '/closing', { method, body });
      await stream.take(2);
      expect(stopped).toEqual([]);

      await stream.close();

      await waitFor(() => stopped.includes('observable'));
    },
  );

  it.each(['web', 'node', 'cursor'])(
    'releases a source that arrives after its client has left: %s',
    async (kind) => {
      const server = await create(app);
      const { stopped, waiting } = server.get(Sources);
      const opening = open(server, `/late/${kind}`).catch(() => undefined);
      await waitFor(() => waiting.length > 0);
      drop(waiting[0]!);
      await opening;

      await waitFor(() => stopped.includes(kind), {
        describe: () => `the release, having seen ${stopped.join()}`,
      });
    },
  );

  it('serves a handler that takes @Param() and @Res()', async () => {
    const server = await create(app);
    const stream = await open(server, '/rooms/blue');
    expect((await stream.next()).json()).toEqual({ room: 'blue', hasResponse: true });
    expect(await stream.ended).toBe('complete');
  });

  it('refuses a value that is no stream, or sends it as one event if there is an interceptor', async () => {
    const server = await create(app);
    const stream = await open(server, '/plain-value');
    if (name.includes('interceptor')) {
      expect(await stream.ended).toBe('complete');
      expect(stream.events.map(({ data }) => data)).toEqual(['alone']);
    } else {
      expect(stream.status).toBe(500);
    }
  });

  it('answers HEAD with the headers and the end, and releases the source', async () => {
    const server = await create(app);
    const sources = server.get(Sources);
    const stream = await open(server, '/quiet', { method: 'HEAD' });
    expect(await stream.ended).toBe('complete');
    expect(stream.status).toBe(200);
    expect(stream.headers['content-type']).toMatch(/^text\/event-stream/);
    expect(stream.raw).toBe('');
    await waitFor(() => sources.stopped.length === sources.subscriptions);
    await waitFor(() => server.get(SseService).connections.size === 0);
  });

  if (!http2) {
    it('can be tested with supertest if it ends', async () => {
      const server = await create(app);
      const { text } = await request(server.getHttpServer()).get('/ended').expect(200);
      expect(text).toBe('retry: 3000\ndata: 1\n\ndata: 2\n\ndata: 3\n\n');
    });
  }

  it('commits the headers of a stream that stays quiet', async () => {
    const server = await create(app);
    const stream = await open(server, '/quiet');
    await stream.until(({ retry }) => retry === 3000);
    expect(stream.status).toBe(200);
  });
});

/** Breaks the connection, as a failing network does. */
function drop({ request }: SseConnection): void {
  const own = request as IncomingMessage & { raw?: IncomingMessage };
  const raw = (own.raw ?? own) as IncomingMessage & { stream?: { destroy(): void } };
  (raw.stream ?? raw.socket).destroy();
}

/** Whether more bytes wait for the client than its socket takes. */
function isBehind(connection: SseConnection): Promise<boolean> {
  return Promise.race([connection.drained().then(() => false), nextTurn(true)]);
}
