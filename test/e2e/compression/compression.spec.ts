import { afterEach, describe, expect, it } from '@jest/globals';
import { Controller, Get, Head, Param, Post, Res, Sse } from '@nestjs/common';
import type { INestApplication } from '@nestjs/common';
import { Connection, SseConnection, SseModule, SseOptions, SseService } from 'nestjs-event-stream';
import type { SseModuleOptions } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import type { OpenSseOptions, SseTestStream } from 'nestjs-event-stream/testing';
import { Observable, of, throwError } from 'rxjs';
import { ConnectionRegistry } from '../../../lib/connection/index.js';
import { closeAll, open, platforms } from '../../support/apps/platforms.js';

const LONG = { items: Array.from({ length: 40 }, (_, n) => ({ sku: `A-${n}`, quantity: n % 3 })) };
const GZIP = { 'accept-encoding': 'gzip, deflate, br' };

/** What Express's response and Fastify's reply have in common. */
interface AnyResponse {
  header(name: string, value: string): unknown;
  readonly raw?: NodeResponse;
}

interface NodeResponse {
  write(chunk: string): boolean;
  end(chunk: string): unknown;
  socket: { pause(): void } | null;
}

@Controller()
class StreamsController {
  readonly connections: SseConnection[] = [];

  constructor(private readonly sse: SseService) {}

  @Get('connect')
  connect(@Res() res: AnyResponse) {
    const connection = this.sse.connect(res);
    connection.send(LONG);
    this.connections.push(connection);
  }

  @Head('head')
  head(@Res() res: AnyResponse) {
    this.sse.connect(res);
  }

  @Get('plain')
  plain(@Res() res: AnyResponse) {
    this.sse.connect(res, { compression: false }).send(LONG);
  }

  @Post('plain-stream')
  plainStream(@Res() res: AnyResponse) {
    return this.sse.stream(res, () => of(LONG), { compression: false });
  }

  @Get('plain-runs')
  async plainRun(@Res() res: AnyResponse) {
    await this.sse.runs.start('two', () => of(LONG));
    await this.sse.runs.attach(res, 'two', { compression: false });
  }

  @Get('encoded')
  encoded(@Res() res: AnyResponse) {
    res.header('Content-Encoding', 'identity');
    this.sse.connect(res).send(LONG);
  }

  @Get('varied/:vary')
  varied(@Param('vary') vary: string, @Res() res: AnyResponse) {
    res.header('Vary', vary);
    this.sse.connect(res).send(LONG);
  }

  @Get('foreign')
  foreign(@Res() res: AnyResponse) {
    const connection = this.sse.connect(res);
    const raw = res.raw ?? (res as unknown as NodeResponse);
    connection.send(1);
    raw.write(': of the app\n');
    connection.send(2);
    raw.end(`: ${'its end '.repeat(100)}\n`);
  }

  @Post('stream')
  stream(@Res() res: AnyResponse) {
    return this.sse.stream(res, () => of(LONG, 'two', LONG), { doneEvent: 'done' });
  }

  @Get('runs')
  async run(@Res() res: AnyResponse) {
    await this.sse.runs.start('one', () => of(LONG, 'two', LONG));
    await this.sse.runs.attach(res, 'one');
  }

  @Sse('sse')
  follow(@Connection() connection: SseConnection) {
    this.connections.push(connection);
    connection.send(LONG);
    return connection.follow('orders', { snapshot: () => ({ data: LONG, type: 'state' }) });
  }

  @Sse('kept-out')
  @SseOptions({ compression: false })
  keptOut() {
    return of({ data: LONG });
  }

  @Sse('brought-in')
  @SseOptions({ compression: 'events' })
  broughtIn() {
    return of({ data: LONG });
  }

  @Sse('failing')
  failing(): Observable<unknown> {
    return throwError(() => new Error('early'));
  }
}

/** Returns the warnings that the module gives from now on. They are not logged. */
function collectWarnings(app: INestApplication): string[] {
  const warnings: string[] = [];
  const { reporter } = app.get(ConnectionRegistry, { strict: false });
  Object.assign(reporter, { warn: (message: string) => warnings.push(message) });
  return warnings;
}

describe.each(platforms)('compression on $name', (platform) => {
  afterEach(closeAll);

  const create = (options: SseModuleOptions = {}, configure?: (app: INestApplication) => unknown) =>
    platform.create(
      {
        imports: [SseModule.forRoot({ compression: 'events', heartbeatMs: false, ...options })],
        controllers: [StreamsController],
      },
      { configure },
    );
  const encodingOf = ({ headers }: SseTestStream) => headers['content-encoding'];
  const openGzip = (app: INestApplication, path: string, options: OpenSseOptions = {}) =>
    open(app, path, { headers: GZIP, ...options });

  it.each(['/connect', '/sse'])('is negotiated, and says so in the headers: %s', async (path) => {
    const app = await create();
    const compressed = await openGzip(app, path);
    const plain = await open(app, path);
    const refused = await open(app, path, { headers: { 'accept-encoding': 'gzip;q=0, *' } });
    for (const stream of [compressed, plain, refused]) {
      expect((await stream.next()).json()).toEqual(LONG);
      expect(stream.headers['vary']).toBe('Accept-Encoding');
      expect(stream.headers['cache-control']).toContain('no-transform');
      expect(stream.headers['content-type']).toContain('text/event-stream');
    }
    expect([compressed, plain, refused].map(encodingOf)).toEqual(['gzip', undefined, undefined]);
  });

  it('compresses snapshots, events, sends and comments, and counts both', async () => {
    const app = await create();
    const sse = app.get(SseService);
    const { connections } = app.get(StreamsController);
    const streams = [await openGzip(app, '/sse'), await openGzip(app, '/sse')];
    await Promise.all(streams.map((stream) => stream.take(2)));
    await sse.publish('orders', { type: 'changed', data: LONG });
    await Promise.all([1, 2, 3].map((n) => sse.publish('orders', { data: `${n}`.repeat(500) })));
    connections.forEach((connection) => connection.comment('for all '.repeat(100)));
    for (const stream of streams) {
      expect((await stream.take(4)).map(({ type }) => type)).toEqual([
        'changed',
        'message',
        'message',
        'message',
      ]);
      await stream.until(({ comments }) => comments.includes('for all '.repeat(100)));
    }
    const { direct } = app.get(ConnectionRegistry, { strict: false }).writeCounts;
    expect(direct > 0).toBe(!platform.http2);
    const { bytes, writtenBytes } = sse.metrics.sent;
    expect(bytes).toBeGreaterThan(streams[0]!.raw.length);
    expect(writtenBytes).toBeLessThan(bytes / 2);
  });

  it('compresses heartbeats, which the client sees one by one', async () => {
    const stream = await openGzip(await create({ heartbeatMs: 20 }), '/connect');
    await stream.until(({ comments }) => comments.length >= 3);
    expect(stream.comments.slice(0, 3)).toEqual(['', '', '']);
  });

  it('compresses stream() and runs, to their ends', async () => {
    const app = await create();
    for (const [path, options] of [
      ['/stream', { method: 'POST' }],
      ['/runs', {}],
    ] as const) {
      const stream = await openGzip(app, path, options);
      expect(encodingOf(stream)).toBe('gzip');
      expect(await stream.untilEnd()).toBe('complete');
      expect(stream.events.slice(0, 3).map(({ data }) => data)).toEqual([
        JSON.stringify(LONG),
        'two',
        JSON.stringify(LONG),
      ]);
    }
  });

  it("compresses topics and runs with what all have received, by 'stream', and warns once elsewhere", async () => {
    const app = await create({ compression: 'stream' });
    const warned = collectWarnings(app);
    const streams = [await openGzip(app, '/sse'), await openGzip(app, '/sse'), await open(app, '/sse')];
    await Promise.all(streams.map((stream) => stream.take(2)));
    for (let n = 0; n < 30; n += 1) {
      await app.get(SseService).publish('orders', { data: `tick ${n} ${'of a price'.repeat(15)}` });
    }
    const received = await Promise.all(streams.map((stream) => stream.take(30)));
    expect(received[0]!.map(({ data }) => data.slice(0, 7))).toEqual(
      Array.from({ length: 30 }, (_, n) => `tick ${n} `.slice(0, 7)),
    );
    expect(streams[0]!.raw).toBe(streams[2]!.raw);
    const run = await openGzip(app, '/runs');
    expect(await run.untilEnd()).toBe('complete');
    expect(run.events.slice(0, 3).map(({ data }) => data)).toEqual([
      JSON.stringify(LONG),
      'two',
      JSON.stringify(LONG),
    ]);
    for (const stream of [await openGzip(app, '/connect'), await openGzip(app, '/connect')]) {
      expect((await stream.next()).json()).toEqual(LONG);
      await stream.close();
    }
    await waitFor(() => warned.length > 0, { timeoutMs: 15_000 });
    expect(warned).toEqual([expect.stringContaining("/connect has compression: 'stream'")]);
  });

  it.each([
    ['/plain', 'GET'],
    ['/plain-stream', 'POST'],
    ['/plain-runs', 'GET'],
    ['/kept-out', 'GET'],
    ['/encoded', 'GET'],
  ])('leaves alone what the app keeps out: %s', async (path, method) => {
    const stream = await openGzip(await create(), path, { method });
    expect((await stream.next()).json()).toEqual(LONG);
    expect(encodingOf(stream)).toBe(path === '/encoded' ? 'identity' : undefined);
    expect(stream.headers['vary']).toBeUndefined();
  });

  it('is for one route alone, if its app says so', async () => {
    const app = await create({ compression: false });
    const streams = [await openGzip(app, '/brought-in'), await openGzip(app, '/connect')];
    for (const stream of streams) {
      expect((await stream.next()).json()).toEqual(LONG);
    }
    expect(streams.map(encodingOf)).toEqual(['gzip', undefined]);
    expect(streams.map(({ headers }) => headers['vary'])).toEqual(['Accept-Encoding', undefined]);
  });

  it('leaves alone the answer of a filter, and HEAD', async () => {
    const app = await create();
    const failed = await openGzip(app, '/failing');
    expect(failed.status).toBe(500);
    expect(JSON.parse(await failed.body())).toMatchObject({ statusCode: 500 });
    expect(encodingOf(failed)).toBeUndefined();
    for (const path of ['/head', '/connect', '/sse']) {
      const head = await openGzip(app, path, { method: 'HEAD' });
      expect(head.status).toBe(200);
      expect(encodingOf(head)).toBeUndefined();
      expect(await head.untilEnd()).toBe('complete');
    }
  });

  it.each([
    ['Origin', 'Origin, Accept-Encoding'],
    ['*', '*'],
    ['origin,accept-encoding', 'origin, accept-encoding'],
  ])('adds to the Vary of the app: %s', async (vary, expected) => {
    const stream = await openGzip(await create(), `/varied/${vary}`);
    expect((await stream.next()).json()).toEqual(LONG);
    expect(stream.headers['vary']).toBe(expected);
  });

  it('writes what other code writes to the response as a part of the stream', async () => {
    const stream = await openGzip(await create(), '/foreign');
    await stream.untilEnd();
    expect(stream.events.map(({ data }) => data)).toEqual(['1', '2']);
    expect(stream.comments).toEqual(['of the app', 'its end '.repeat(100)]);
  });

  it.each([
    ['/connect', 'GET'],
    ['/sse', 'GET'],
    ['/stream', 'POST'],
    ['/runs', 'GET'],
  ])('is left to a middleware that has wrapped write: %s', async (path, method) => {
    const wrap = (app: INestApplication) =>
      app.use((_req: unknown, res: { write: (...args: unknown[]) => unknown }, next: () => void) => {
        const { write } = res;
        res.write = (...args) => Reflect.apply(write, res, args);
        next();
      });
    const app = await create({}, wrap);
    const warned = collectWarnings(app);
    for (const headers of [{}, GZIP, GZIP]) {
      const stream = await open(app, path, { method, headers });
      expect((await stream.next()).json()).toEqual(LONG);
      expect(encodingOf(stream)).toBeUndefined();
      expect(stream.headers['vary']).toBe('Accept-Encoding');
      expect(warned).toHaveLength(headers === GZIP ? 1 : 0);
    }
    expect(warned[0]).toContain(`${path} has compression: 'events', and is sent uncompressed`);
  });
});
