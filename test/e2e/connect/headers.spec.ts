import { afterEach, describe, expect, it } from '@jest/globals';
import { Controller, Get, Header, HttpCode, Post, Res } from '@nestjs/common';
import type { INestApplication } from '@nestjs/common';
import { SseError, SseModule, SseService } from 'nestjs-event-stream';
import type { SseConnection } from 'nestjs-event-stream';
import { closeAll, open, platforms } from '../../support/apps/platforms.js';

/** What Express's response and Fastify's reply have in common. */
interface AnyResponse {
  header(name: string, value: string | string[]): unknown;
  readonly raw?: object;
}

@Controller()
class HeadersController {
  connections: SseConnection[] = [];

  constructor(private readonly sse: SseService) {}

  @Get('plain')
  plain(@Res() res: AnyResponse) {
    this.connections.push(this.sse.connect(res));
  }

  @Post('plain')
  plainPost(@Res() res: AnyResponse) {
    this.connections.push(this.sse.connect(res));
  }

  @Get('own')
  @Header('X-From-Decorator', 'decorator')
  own(@Res() res: AnyResponse) {
    res.header('X-From-Reply', 'reply');
    res.header('Set-Cookie', ['a=1', 'b=2']);
    this.sse.connect(res);
  }

  @Get('breaking')
  @Header('Content-Type', 'text/html')
  @Header('Content-Length', '7')
  @Header('Cache-Control', 'public, max-age=3600')
  breaking(@Res() res: AnyResponse) {
    this.sse.connect(res).send('a longer answer than was announced');
  }

  @Get('accepted')
  @HttpCode(202)
  accepted(@Res() res: AnyResponse) {
    this.sse.connect(res);
  }

  @Get('retry')
  retry(@Res() res: AnyResponse) {
    this.sse.connect(res, { retryMs: 1_234 });
  }

  @Get('twice')
  twice(@Res() res: AnyResponse) {
    const first = this.sse.connect(res);
    const second = this.sse.connect(res, { retryMs: 1 });
    const third = this.sse.connect(res.raw ?? res);
    first.send(first === second && second === third);
  }

  @Get('nothing')
  nothing(@Res() res: AnyResponse) {
    let failure: unknown;
    try {
      this.sse.connect({});
    } catch (error) {
      failure = error;
    }
    const { code, message } = failure as SseError;
    this.sse.connect(res).send({ isSseError: failure instanceof SseError, code, message });
  }

  @Get('last')
  last(@Res() res: AnyResponse) {
    const connection = this.sse.connect(res);
    connection.send(connection.lastEventId ?? 'none');
  }
}

describe.each(platforms)('the answer of connect() on $name', (platform) => {
  afterEach(closeAll);

  const create = (configure?: (app: INestApplication) => unknown) =>
    platform.create({ imports: [SseModule.forRoot()], controllers: [HeadersController] }, { configure });

  it.each(['GET', 'POST'])(
    'has the headers of a stream that nothing on the way holds up, %s',
    async (method) => {
      const stream = await open(await create(), '/plain', { method });

      expect(stream.status).toBe(200);
      expect(stream.headers).toMatchObject({
        'content-type': 'text/event-stream; charset=utf-8',
        'cache-control': 'private, no-cache, no-store, no-transform',
        'x-accel-buffering': 'no',
      });
      expect(stream.headers).not.toHaveProperty('content-length');
      expect(stream.headers.connection).toBe(platform.http2 ? undefined : 'keep-alive');
    },
  );

  it('is there at once, with retry, before any event', async () => {
    const stream = await open(await create(), '/plain');

    await stream.until(({ raw }) => raw.length > 0);
    expect(stream.raw).toBe('retry: 3000\n');
    expect(stream.ending).toBeUndefined();
  });

  it('begins with the retry that connect() was given', async () => {
    const stream = await open(await create(), '/retry');

    await stream.until(({ raw }) => raw.length > 0);
    expect(stream.raw).toBe('retry: 1234\n');
  });

  it('keeps the headers of @Header, of the reply, of middleware and of CORS', async () => {
    const app = await create((nest) => {
      nest.use((_req: unknown, res: { setHeader(name: string, value: string): void }, next: () => void) => {
        res.setHeader('X-From-Middleware', 'middleware');
        next();
      });
      nest.enableCors({ origin: 'https://app.example', credentials: true, exposedHeaders: ['X-From-Reply'] });
    });

    const stream = await open(app, '/own', { headers: { origin: 'https://app.example' } });

    expect(stream.headers).toMatchObject({
      'content-type': 'text/event-stream; charset=utf-8',
      'x-from-decorator': 'decorator',
      'x-from-reply': 'reply',
      'x-from-middleware': 'middleware',
      'set-cookie': ['a=1', 'b=2'],
      'access-control-allow-origin': 'https://app.example',
      'access-control-allow-credentials': 'true',
      'access-control-expose-headers': 'X-From-Reply',
    });
  });

  it('replaces headers that would break the stream, and has no length', async () => {
    const stream = await open(await create(), '/breaking');

    expect((await stream.next()).data).toBe('a longer answer than was announced');
    expect(stream.headers).toMatchObject({
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'private, no-cache, no-store, no-transform',
    });
    expect(stream.headers).not.toHaveProperty('content-length');
  });

  it('keeps a status that the app chose', async () => {
    expect((await open(await create(), '/accepted')).status).toBe(202);
  });

  it('is one connection however often and with whichever object connect() is called', async () => {
    const stream = await open(await create(), '/twice');

    expect((await stream.next()).json()).toBe(true);
    expect(stream.raw).toBe('retry: 3000\ndata: true\n\n');
  });

  it('is refused for what is no response, with an error that says what to do', async () => {
    const stream = await open(await create(), '/nothing');

    expect((await stream.next()).json()).toEqual({
      isSseError: true,
      code: 'response-invalid',
      message:
        'Expected the response of a request, got an object. Inject it with @Res() and hand it over as it is.',
    });
  });

  it('has headers alone for HEAD, and a connection that is closed', async () => {
    const app = await create();

    const stream = await open(app, '/plain', { method: 'HEAD' });

    expect(await stream.ended).toBe('complete');
    expect(stream.status).toBe(200);
    expect(stream.headers['content-type']).toBe('text/event-stream; charset=utf-8');
    expect(stream.raw).toBe('');
    const [connection] = app.get(HeadersController).connections;
    expect(connection!.send('late')).toBe(false);
    expect(await connection!.closed).toBe('server');
    expect(app.get(SseService).connections.size).toBe(0);
  });

  it.each([
    ['its header', '/last', { lastEventId: '41' }, '41'],
    ['the URL', '/last?lastEventId=42', {}, '42'],
    ['its header before the URL', '/last?lastEventId=42', { lastEventId: '43' }, '43'],
    ['neither', '/last', {}, 'none'],
  ])('knows the last event id of a client from %s', async (_from, path, options, expected) => {
    const stream = await open(await create(), path, options);

    expect((await stream.next()).data).toBe(expected);
  });
});
