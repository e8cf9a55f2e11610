import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, describe, expect, it } from '@jest/globals';
import { Controller, Injectable, NotFoundException, RequestMethod, Res, Sse } from '@nestjs/common';
import type { CallHandler, ExecutionContext, NestInterceptor } from '@nestjs/common';
import { APP_INTERCEPTOR } from '@nestjs/core';
import { SseModule, SseService } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import { of } from 'rxjs';
import { closeAll, open, platforms } from '../../support/platforms.js';
import type { Platform } from '../../support/platforms.js';

/** As long as a look into a database: more than one turn of the event loop. */
const LOOK_MS = 30;

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
    await delay(LOOK_MS);
    throw new NotFoundException('No such room.');
  }

  @Sse('missing', { method: RequestMethod.POST })
  async missingPost() {
    await this.missing();
  }

  @Sse('set')
  async set(@Res({ passthrough: true }) reply: Reply) {
    await delay(LOOK_MS);
    reply.status(203).header('x-room', 'blue');
    return of({ data: 'hello' });
  }
}

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
    'has its headers out by then, as in Nest where an interceptor stands: the error comes in the stream of a %s',
    async (method) => {
      const [plain, ...others] = await everyApp(platform);
      const own = await open(plain!, '/missing', { method });
      expect(own.status).toBe(404);
      for (const app of others) {
        const stream = await open(app, '/missing', { method });
        expect(stream.headers['content-type']).toMatch(/^text\/event-stream/);
        expect(await stream.ended).toBe('complete');
        expect(stream.events.map(({ type, data }) => [type, data])).toEqual([['error', 'No such room.']]);
      }
      await waitFor(() => others.at(-1)!.get(SseService).connections.size === 0);
    },
  );

  it('sets its status and headers too late, as in Nest where an interceptor stands', async () => {
    const answers = [];
    for (const app of (await everyApp(platform)).slice(1)) {
      const stream = await open(app, '/set');
      const { type, data } = await stream.next();
      answers.push({ status: stream.status, header: stream.headers['x-room'], type, data });
    }
    const [withInterceptor, ...withModule] = answers;
    expect(withInterceptor).toMatchObject({ status: 200, header: undefined });
    expect(withModule).toEqual([withInterceptor, withInterceptor]);
  });
});
