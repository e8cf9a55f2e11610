import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, describe, expect, it } from '@jest/globals';
import { Controller, Injectable, NotFoundException, RequestMethod, Res, Scope, Sse } from '@nestjs/common';
import type { CallHandler, ExecutionContext, NestInterceptor } from '@nestjs/common';
import { APP_INTERCEPTOR } from '@nestjs/core';
import { Connection, SseModule, SseService } from 'nestjs-event-stream';
import type { SseConnection } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import { of } from 'rxjs';
import { closeAll, open, platforms } from '../../support/apps/platforms.js';
import type { Platform } from '../../support/apps/platforms.js';

/** Duration of a query to a database: more than one turn of the event loop. */
const QUERY_MS = 30;

interface Reply {
  status(code: number): Reply;
  header(name: string, value: string): Reply;
}

@Injectable()
class Through implements NestInterceptor {
  intercept(_context: ExecutionContext, next: CallHandler) {
    return next.handle();
  }
}

@Controller()
class Rooms {
  @Sse('missing')
  async missing() {
    await delay(QUERY_MS);
    throw new NotFoundException('No such room.');
  }

  @Sse('missing', { method: RequestMethod.POST })
  async missingPost() {
    await this.missing();
  }

  @Sse('set')
  async set(@Res({ passthrough: true }) reply: Reply) {
    await delay(QUERY_MS);
    reply.status(203).header('x-room', 'blue');
    return of({ data: 'hello' });
  }

  @Sse('forever')
  forever() {
    return new Promise(() => undefined);
  }

  @Sse('early')
  async early(@Connection() connection: SseConnection) {
    connection.send('before');
    await delay(QUERY_MS);
    return of('after');
  }

  @Sse('early-and-missing')
  async earlyAndMissing(@Connection() connection: SseConnection) {
    await this.early(connection);
    return this.missing();
  }
}

@Controller({ path: 'scoped', scope: Scope.REQUEST })
class ScopedRooms extends Rooms {}

const interceptor = { provide: APP_INTERCEPTOR, useClass: Through };

/** Plain Nest, plain Nest with an interceptor of the app, and the module without and with one. */
async function everyApp({ create }: Platform) {
  const apps = [];
  for (const imports of [[], [SseModule.forRoot()]]) {
    for (const providers of [[], [interceptor]]) {
      apps.push(await create({ imports, providers, controllers: [Rooms] }));
    }
  }
  return apps;
}

afterEach(closeAll);

describe.each(platforms)('an @Sse() handler that waits before it fails, on $name', (platform) => {
  it.each(['GET', 'POST'])(
    'gets its error answered by the filters with its own status: %s',
    async (method) => {
      const [plain, , withModule] = await everyApp(platform);
      for (const app of [plain!, withModule!]) {
        const stream = await open(app, '/missing', { method });
        expect(stream.status).toBe(404);
        expect(JSON.parse(await stream.body())).toMatchObject({ message: 'No such room.' });
      }
      expect(withModule!.get(SseService).connections.size).toBe(0);
    },
  );

  it.each(['GET', 'POST'])(
    'has sent its headers by then if there is an interceptor, as in Nest: the error comes in the stream of a %s',
    async (method) => {
      const [, plain, , withModule] = await everyApp(platform);
      for (const app of [plain!, withModule!]) {
        const stream = await open(app, '/missing', { method });
        expect(stream.headers['content-type']).toMatch(/^text\/event-stream/);
        expect(await stream.ended).toBe('complete');
        expect(stream.events.map(({ type, data }) => [type, data])).toEqual([['error', 'No such room.']]);
      }
      await waitFor(() => withModule!.get(SseService).connections.size === 0);
    },
  );

  it('keeps its status beside a route of a request-scoped controller, which has sent its headers', async () => {
    const app = await platform.create({
      imports: [SseModule.forRoot()],
      controllers: [Rooms, ScopedRooms],
    });
    expect((await open(app, '/missing')).status).toBe(404);
    const stream = await open(app, '/scoped/missing');
    expect(await stream.ended).toBe('complete');
    expect(stream.events.map(({ type, data }) => [type, data])).toEqual([['error', 'No such room.']]);
  });

  it('sets its status and headers, but too late if there is an interceptor, as in Nest', async () => {
    const answers = [];
    for (const app of await everyApp(platform)) {
      const stream = await open(app, '/set');
      const { type, data } = await stream.next();
      answers.push({ status: stream.status, header: stream.headers['x-room'], type, data });
    }
    const [plain, plainIntercepted, withModule, withModuleIntercepted] = answers;
    expect(withModule).toEqual(plain);
    expect(withModuleIntercepted).toEqual(plainIntercepted);
    expect(withModule!.data).toBe('hello');
  });

  it('sends its client a retry when the app closes', async () => {
    const app = await platform.create({
      imports: [SseModule.forRoot()],
      controllers: [Rooms],
    });
    const opening = open(app, '/forever');
    await waitFor(() => app.get(SseService).connections.size === 1);
    await app.close();
    const stream = await opening;
    expect(await stream.ended).toBe('complete');
    expect(stream.retries).toHaveLength(1);
    expect(app.get(SseService).connections.size).toBe(0);
  });

  it('counts towards maxConnections while it waits', async () => {
    const app = await platform.create({
      imports: [SseModule.forRoot({ maxConnections: 1, drain: { timeoutMs: 50 } })],
      controllers: [Rooms],
    });
    const opening = open(app, '/forever').catch((error: unknown) => error);
    await waitFor(() => app.get(SseService).connections.size === 1);
    const shed = await open(app, '/forever');
    expect(await shed.ended).toBe('complete');
    expect(shed.raw).toMatch(/^retry: \d+\n$/);
    await app.close();
    await opening;
  });

  it('may send events before it returns: they come first', async () => {
    const app = await platform.create({ imports: [SseModule.forRoot()], controllers: [Rooms] });
    const stream = await open(app, '/early');
    expect((await stream.take(2)).map(({ data }) => data)).toEqual(['before', 'after']);
    const failed = await open(app, '/early-and-missing');
    expect(await failed.ended).toBe('complete');
    expect(failed.events.map(({ type, data }) => [type, data])).toEqual([
      ['message', 'before'],
      ['error', 'No such room.'],
    ]);
  });
});
