import type { EventEmitter } from 'node:events';
import { Agent } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, describe, expect, it } from '@jest/globals';
import {
  Catch,
  Controller,
  ForbiddenException,
  Header,
  NotFoundException,
  Param,
  ParseIntPipe,
  Query,
  RequestMethod,
  Sse,
  UnauthorizedException,
  UseFilters,
  UseGuards,
} from '@nestjs/common';
import type { ArgumentsHost, CanActivate, ExceptionFilter, LoggerService } from '@nestjs/common';
import { Connection, SseModule, SseService } from 'nestjs-event-stream';
import type { SseConnection } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import { concat, concatMap, defer, of, throwError, timer } from 'rxjs';
import type { Observable } from 'rxjs';
import { closeAll, open } from '../../support/apps/platforms.js';
import { served } from './served.js';

class Shut implements CanActivate {
  canActivate() {
    return false;
  }
}

class Locked implements CanActivate {
  canActivate(): boolean {
    throw new UnauthorizedException('Bring a token.');
  }
}

class Spilt extends Error {}

interface Answering {
  status(code: number): { send(body: unknown): unknown };
}

@Catch(Spilt)
class SpiltFilter implements ExceptionFilter<Spilt> {
  catch({ message }: Spilt, host: ArgumentsHost) {
    host.switchToHttp().getResponse<Answering>().status(418).send({ spilt: message });
  }
}

const early: Record<string, () => unknown> = {
  'thrown in the handler': () => {
    throw new NotFoundException('No such room.');
  },
  'a rejected promise': () => Promise.reject(new NotFoundException('No such room.')),
  'an Observable before its first event': () => throwError(() => new NotFoundException('No such room.')),
  'an Observable that asks first': () =>
    defer(async () => {
      throw new NotFoundException('No such room.');
    }),
  'a generator before its first event': async function* () {
    yield await Promise.reject(new NotFoundException('No such room.'));
  },
};

const late: Record<string, () => Error> = {
  plain: () => new Error('secret: the table is locked'),
  forbidden: () => new ForbiddenException('Your session has ended.'),
  wrapped: () => new UnauthorizedException(new Error('secret: key of 1998')),
  'http-errors': () => Object.assign(new Error('secret: upstream'), { statusCode: 502 }),
};

function afterOne(failure: Observable<never>) {
  return concat(of({ data: 'first' }), timer(5).pipe(concatMap(() => failure)));
}

@Controller()
class Failing {
  calls = 0;
  refused: SseConnection | undefined;

  @Sse('early')
  early(@Query('kind') kind: string) {
    this.calls += 1;
    return early[kind]!();
  }

  @Sse('early', { method: RequestMethod.POST })
  earlyPost(@Query('kind') kind: string) {
    return early[kind]!();
  }

  @Sse('refused')
  refuse(@Connection() connection: SseConnection): Observable<unknown> {
    this.refused = connection;
    throw new NotFoundException();
  }

  @Sse('guarded')
  @UseGuards(Shut)
  guarded() {
    this.calls += 1;
    return of({ data: 'inside' });
  }

  @Sse('locked')
  @UseGuards(Locked)
  locked() {
    this.calls += 1;
    return of({ data: 'inside' });
  }

  @Sse('numbers/:number')
  number(@Param('number', ParseIntPipe) number: number) {
    this.calls += 1;
    return of({ data: number });
  }

  @Sse('spilt')
  @UseFilters(SpiltFilter)
  spilt() {
    return throwError(() => new Spilt('tea'));
  }

  @Sse('crash')
  crash(): Observable<unknown> {
    throw new Error('secret: the password is 1234');
  }

  @Sse('crash-with-headers')
  @Header('X-Team', 'blue')
  crashWithHeaders(): Observable<unknown> {
    throw new NotFoundException();
  }

  @Sse('late')
  late(@Query('kind') kind: string) {
    return afterOne(throwError(late[kind]!));
  }

  @Sse('late-generator')
  async *lateGenerator() {
    yield { data: 'first' };
    await delay(5);
    throw new Error('secret: the model is tired');
  }

  @Sse('late-spilt')
  @UseFilters(SpiltFilter)
  lateSpilt() {
    return afterOne(throwError(() => new Spilt('tea')));
  }

  @Sse('unsendable-first')
  unsendableFirst() {
    return of({ data: Promise.reject(new Error('late')) });
  }

  @Sse('unsendable')
  unsendable() {
    return of({ data: 'first' }, { data: Buffer.from('two') }, { data: 'after' });
  }

  @Sse('content', { method: RequestMethod.GET })
  content() {
    return of({ data: 'first' }, { data: 'x', id: 'two\nlines' }, { data: 10n }, { data: 'after' });
  }

  @Sse('content', { method: RequestMethod.POST })
  contentOfAnAnswer() {
    return this.content();
  }
}

class Silence implements LoggerService {
  readonly errors: string[] = [];
  log() {}
  warn() {}
  error(...message: unknown[]) {
    this.errors.push(message.join(' '));
  }
}

const app = { imports: [SseModule.forRoot()], controllers: [Failing] };

afterEach(closeAll);

describe.each(served)('an error on an @Sse() route on $name', ({ create, http2 }) => {
  describe('before the first event', () => {
    it.each(Object.keys(early))('is answered by the filters with its own status: %s', async (kind) => {
      const server = await create(app);
      for (const method of ['GET', 'POST']) {
        const stream = await open(server, `/early?kind=${encodeURIComponent(kind)}`, { method });
        expect(stream.status).toBe(404);
        expect(stream.headers['content-type']).toMatch(/^application\/json/);
        expect(JSON.parse(await stream.body())).toMatchObject({ message: 'No such room.', statusCode: 404 });
      }
      expect(server.get(SseService).connections.size).toBe(0);
    });

    it('closes the connection that the handler was given', async () => {
      const server = await create(app);
      const stream = await open(server, '/refused');
      expect(stream.status).toBe(404);
      const connection = server.get(Failing).refused!;
      expect(await connection.closed).toBe('error');
      expect(connection.signal.aborted).toBe(true);
      expect(connection.send('late')).toBe(false);
    });

    if (!http2) {
      it('leaves the connection to the client usable', async () => {
        const server = await create(app);
        const agent = new Agent({ keepAlive: true, maxSockets: 1 });
        const sockets = new Set<unknown>();
        const http = server.getHttpServer() as EventEmitter;
        http.on('request', ({ socket }: { socket: unknown }) => sockets.add(socket));
        for (const kind of Object.keys(early)) {
          const stream = await open(server, `/early?kind=${encodeURIComponent(kind)}`, { agent });
          expect(stream.status).toBe(404);
          await stream.body();
        }
        const next = await open(server, '/numbers/7', { agent });
        expect(await next.body()).toBe('retry: 3000\ndata: 7\n\n');
        expect(sockets.size).toBe(1);
        agent.destroy();
      });
    }

    it.each([
      ['/guarded', 403, 'Forbidden resource'],
      ['/locked', 401, 'Bring a token.'],
      ['/numbers/seven', 400, 'Validation failed (numeric string is expected)'],
    ])(
      'of a guard or a pipe is answered without a call of the handler: %s',
      async (path, status, message) => {
        const server = await create(app);
        const stream = await open(server, path);
        expect(stream.status).toBe(status);
        expect(JSON.parse(await stream.body())).toMatchObject({ statusCode: status, message });
        expect(server.get(Failing).calls).toBe(0);
        expect(server.get(SseService).connections.size).toBe(0);
      },
    );

    it("is answered by the app's own filter", async () => {
      const stream = await open(await create(app), '/spilt');
      expect(stream.status).toBe(418);
      expect(JSON.parse(await stream.body())).toEqual({ spilt: 'tea' });
    });

    it('is masked and logged if it is no HttpException', async () => {
      const logger = new Silence();
      const stream = await open(await create(app, { logger }), '/crash');
      expect(stream.status).toBe(500);
      expect(await stream.body()).not.toContain('secret');
      expect(logger.errors.join()).toContain('the password is 1234');
    });

    it('keeps the headers of the route', async () => {
      const stream = await open(await create(app), '/crash-with-headers');
      expect(stream.status).toBe(404);
      expect(stream.headers['x-team']).toBe('blue');
      expect(stream.headers['content-type']).toMatch(/^application\/json/);
    });

    it('is raised for a first event of a wrong kind, and logged', async () => {
      const logger = new Silence();
      const stream = await open(await create(app, { logger }), '/unsendable-first');
      expect(stream.status).toBe(500);
      expect(logger.errors.join()).toContain('a promise');
    });
  });

  describe('after the first event', () => {
    it.each([
      ['plain', 'Internal server error', true],
      ['forbidden', 'Your session has ended.', false],
      ['wrapped', 'Unauthorized', false],
      ['http-errors', 'Internal server error', true],
    ])(
      'ends the stream with an error event, its message masked unless it is for the client: %s',
      async (...row) => {
        const [kind, message, isLogged] = row;
        const logger = new Silence();
        const server = await create(app, { logger });
        const stream = await open(server, `/late?kind=${kind}`);
        expect(await stream.ended).toBe('complete');
        expect(stream.status).toBe(200);
        expect(stream.events.map(({ type, data }) => [type, data])).toEqual([
          ['message', 'first'],
          ['error', message],
        ]);
        expect(stream.raw).not.toContain('secret');
        expect(logger.errors.length > 0).toBe(isLogged);
        expect(server.get(SseService).connections.size).toBe(0);
      },
    );

    it('of a generator ends the stream with an error event as well', async () => {
      const logger = new Silence();
      const stream = await open(await create(app, { logger }), '/late-generator');
      expect(await stream.ended).toBe('complete');
      expect(stream.events.map(({ type, data }) => [type, data])).toEqual([
        ['message', 'first'],
        ['error', 'Internal server error'],
      ]);
      expect(logger.errors.join()).toContain('the model is tired');
    });

    it('does not reach a filter, which could not answer any more', async () => {
      const stream = await open(await create(app, { logger: new Silence() }), '/late-spilt');
      expect(await stream.ended).toBe('complete');
      expect(stream.events.at(-1)).toMatchObject({ type: 'error', data: 'Internal server error' });
    });

    it('is raised for an event of a wrong kind, of which nothing is written', async () => {
      const logger = new Silence();
      const server = await create(app, { logger });
      const stream = await open(server, '/unsendable');
      expect(await stream.ended).toBe('complete');
      expect(stream.events.map(({ type, data }) => [type, data])).toEqual([
        ['message', 'first'],
        ['error', 'Internal server error'],
      ]);
      expect(stream.raw).not.toContain('two');
      expect(logger.errors.join()).toContain('bytes');
      await waitFor(() => server.get(SseService).connections.size === 0);
    });

    it('is not raised for content that cannot be sent: the stream goes on without that event', async () => {
      const logger = new Silence();
      const stream = await open(await create(app, { logger }), '/content');
      expect(await stream.ended).toBe('complete');
      expect(stream.events.map(({ data }) => data)).toEqual(['first', 'after']);
      expect(logger.errors.join()).toContain('"id" is printable ASCII');
    });

    it('is raised for content that cannot be sent in the answer to a POST, which would look complete', async () => {
      const logger = new Silence();
      const stream = await open(await create(app, { logger }), '/content', { method: 'POST' });
      await stream.ended;
      expect(stream.events.map(({ data }) => data)).toEqual(['first', 'Internal server error']);
      expect(logger.errors.join()).toContain('"id" is printable ASCII');
    });
  });
});
