import compress from '@fastify/compress';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Controller, Get, Res, Sse } from '@nestjs/common';
import type { INestApplication } from '@nestjs/common';
import compression from 'compression';
import { Connection, SseConnection, SseModule, SseService } from 'nestjs-event-stream';
import type { Follow } from 'nestjs-event-stream';
import { numberedData } from '../../support/apps/numbered-events.js';
import { closeAll, open, platforms } from '../../support/apps/platforms.js';

const EVENTS = 20;
const GZIP = { 'accept-encoding': 'gzip' };
const [express, fastify] = platforms as [(typeof platforms)[0], (typeof platforms)[0]];

@Controller()
class StreamsController {
  constructor(private readonly sse: SseService) {}

  @Get('page')
  page(): string {
    return 'a page '.repeat(500);
  }

  @Get('connect')
  connect(@Res() res: object): void {
    this.sse.connect(res).follow('orders');
  }

  @Sse('sse')
  follow(@Connection() connection: SseConnection): Follow {
    return connection.follow('orders');
  }
}

type Registering = INestApplication & { register(plugin: unknown, options: object): Promise<unknown> };

/** Compressions of an app, and what they make of a page and of a stream that this module would compress. */
const layers = [
  {
    name: "Express's compression for the whole app, which has wrapped write",
    platform: express,
    configure: (app: INestApplication) => app.use(compression({ threshold: 0 })),
    page: 'gzip',
    stream: undefined,
  },
  {
    name: "Express's compression, which is told to compress everything",
    platform: express,
    configure: (app: INestApplication) => app.use(compression({ threshold: 0, filter: () => true })),
    page: 'gzip',
    stream: undefined,
  },
  {
    name: "Express's compression for pages alone",
    platform: express,
    configure: (app: INestApplication) => app.use('/page', compression({ threshold: 0 })),
    page: 'gzip',
    stream: 'gzip',
  },
  {
    name: '@fastify/compress for the whole app',
    platform: fastify,
    configure: (app: INestApplication) => (app as Registering).register(compress, { threshold: 0 }),
    page: 'gzip',
    stream: 'gzip',
  },
  {
    name: '@fastify/compress, which is told to compress everything',
    platform: fastify,
    configure: (app: INestApplication) =>
      (app as Registering).register(compress, { threshold: 0, customTypes: /./ }),
    page: 'gzip',
    stream: 'gzip',
  },
];

describe.each(layers)('beside $name', ({ platform, configure, page, stream: expected }) => {
  describe.each(['events', 'stream', false] as const)('streams with %s', (kind) => {
    let app: INestApplication;

    beforeAll(async () => {
      app = await platform.create(
        { imports: [SseModule.forRoot({ compression: kind })], controllers: [StreamsController] },
        { configure },
      );
    });
    afterAll(closeAll);

    it.each(['/connect', '/sse'])('come event by event, compressed once or not at all: %s', async (path) => {
      const streams = [await open(app, path, { headers: GZIP }), await open(app, path)];
      await Promise.all(streams.map((stream) => stream.next()));
      for (let n = 0; n < EVENTS; n += 1) {
        const data = numberedData(n);
        await app.get(SseService).publish('orders', { data });
        // Before the next one is there.
        const received = await Promise.all(streams.map((stream) => stream.next()));
        received.forEach((event) => expect(event.json()).toEqual(data));
      }
      const encodings = streams.map(({ headers }) => headers['content-encoding']);
      expect(encodings).toEqual([kind === false ? undefined : expected, undefined]);
      streams.forEach(({ headers }) => expect(headers['cache-control']).toContain('no-transform'));
    });

    it('leave pages to it', async () => {
      const answer = await open(app, '/page', { headers: GZIP });
      expect(answer.headers['content-encoding']).toBe(page);
      expect(await answer.body()).toBe('a page '.repeat(500));
    });
  });
});
