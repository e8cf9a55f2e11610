import { afterEach, describe, expect, it } from '@jest/globals';
import {
  Body,
  Controller,
  Get,
  Header,
  HttpCode,
  Inject,
  Injectable,
  Module,
  Param,
  Query,
  RequestMethod,
  Scope,
  Sse,
  Version,
  VersioningType,
} from '@nestjs/common';
import type { INestApplication, PipeTransform } from '@nestjs/common';
import { REQUEST } from '@nestjs/core';
import { Connection, LastEventId, SseModule, SseService } from 'nestjs-event-stream';
import type { SseConnection } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import { concat, NEVER, of } from 'rxjs';
import { closeAll, open } from '../../support/apps/platforms.js';
import { served } from './served.js';

@Controller('answers')
class Answers {
  @Sse('created', { method: RequestMethod.POST })
  created(@Body() body: { question: string }) {
    return of({ data: { echo: body.question } });
  }

  @Sse('chosen', { method: RequestMethod.POST })
  @HttpCode(202)
  chosen() {
    return of({ data: 'accepted' });
  }

  @Sse('put', { method: RequestMethod.PUT })
  put() {
    return of({ data: 'put' });
  }

  @Sse('chosen-get')
  @HttpCode(203)
  chosenGet() {
    return of({ data: 'got' });
  }

  @Sse('headers')
  @Header('X-Team', 'blue')
  headers() {
    return of({ data: 'with headers' });
  }
}

abstract class Inherited {
  abstract readonly name: string;

  @Sse('inherited')
  inherited() {
    return of({ data: this.name });
  }
}

@Controller('one')
class One extends Inherited {
  readonly name = 'one';
}

@Controller('two')
class Two extends Inherited {
  readonly name = 'two';

  // As an app does to document the route again.
  @Sse('inherited')
  override inherited() {
    return super.inherited();
  }
}

@Controller({ path: 'versioned', version: '1' })
class Versioned {
  @Sse('feed')
  first() {
    return of({ data: 'version 1' });
  }

  @Sse('feed')
  @Version('2')
  second() {
    return of({ data: 'version 2' });
  }
}

@Injectable({ scope: Scope.REQUEST })
class Caller {
  constructor(@Inject(REQUEST) readonly request: { headers: Record<string, string> }) {}
}

let instances = 0;

@Controller('scoped')
class Scoped {
  readonly instance = ++instances;

  constructor(private readonly caller: Caller) {}

  @Sse('feed')
  feed(@Connection() connection: SseConnection) {
    connection.data = this.instance;
    return concat(of({ data: this.caller.request.headers['x-caller'] }), NEVER);
  }

  @Sse('feed', { method: RequestMethod.POST })
  async *feedPost() {
    yield { data: this.caller.request.headers['x-caller'] };
  }
}

class ToNumber implements PipeTransform<string | undefined> {
  transform(value: string | undefined) {
    return value === undefined ? undefined : Number(value);
  }
}

@Controller('parameters')
class Parameters {
  connection: SseConnection | undefined;

  @Sse('connection/:room')
  withConnection(
    @Param('room') room: string,
    @Connection() connection: SseConnection,
    @Query('lang') lang: string,
    @LastEventId() lastEventId: string | undefined,
  ) {
    this.connection = connection;
    connection.data = { room, lang };
    connection.send({ type: 'welcome', data: { room, lang, lastEventId } });
    return NEVER;
  }

  @Sse('last')
  last(@LastEventId() lastEventId?: string) {
    return of({ data: { lastEventId } });
  }

  @Sse('last-number')
  lastNumber(@LastEventId(ToNumber) lastEventId: number | undefined) {
    return of({ data: { lastEventId } });
  }

  @Get('last-in-get')
  lastInGet(@LastEventId() lastEventId?: string) {
    return { lastEventId };
  }
}

@Module({ controllers: [Answers, One, Two, Parameters] })
class FeatureModule {}

const app = { imports: [SseModule.forRoot(), FeatureModule] };

afterEach(closeAll);

describe.each(served)('an @Sse() route on $name', ({ create }) => {
  it.each([
    ['POST', '/answers/created', 200, '{"echo":"why"}'],
    ['POST', '/answers/chosen', 202, 'accepted'],
    ['PUT', '/answers/put', 200, 'put'],
    ['GET', '/answers/chosen-get', 203, 'got'],
  ])('answers a %s with 200, or with the status of @HttpCode(): %s', async (method, path, status, data) => {
    const body = method === 'GET' ? undefined : { question: 'why' };
    const stream = await open(await create(app), path, { method, body });
    expect(await stream.ended).toBe('complete');
    expect(stream.status).toBe(status);
    expect(stream.events.map((event) => event.data)).toEqual([data]);
  });

  it('keeps what @Header() and CORS set', async () => {
    const server = await create(app, { cors: { origin: 'https://app.example', credentials: true } });
    const stream = await open(server, '/answers/headers', { headers: { origin: 'https://app.example' } });
    expect(stream.headers).toMatchObject({
      'x-team': 'blue',
      'access-control-allow-origin': 'https://app.example',
      'access-control-allow-credentials': 'true',
      'content-type': expect.stringMatching(/^text\/event-stream/),
      'cache-control': expect.stringContaining('no-transform'),
      'x-accel-buffering': 'no',
    });
  });

  it('may be inherited, and overridden', async () => {
    const server = await create(app);
    for (const name of ['one', 'two']) {
      const stream = await open(server, `/${name}/inherited`);
      expect(await stream.ended).toBe('complete');
      expect(stream.raw).toBe(`retry: 3000\ndata: ${name}\n\n`);
    }
  });

  it.each([
    [
      'in the path',
      VersioningType.URI as const,
      '/api/v1/versioned/feed',
      '/api/v2/versioned/feed',
      undefined,
    ],
    [
      'in a header',
      VersioningType.HEADER as const,
      '/api/versioned/feed',
      '/api/versioned/feed',
      'x-version',
    ],
  ])('may have a prefix and a version %s', async (_where, type, first, second, header) => {
    const versioned = { imports: [SseModule.forRoot()], controllers: [Versioned] };
    const server = await create(versioned, {
      configure: (server: INestApplication) => {
        server.setGlobalPrefix('api');
        server.enableVersioning(type === VersioningType.URI ? { type } : { type, header: 'x-version' });
      },
    });
    for (const [path, version] of [
      [first, '1'],
      [second, '2'],
    ] as const) {
      const stream = await open(server, path, { headers: header ? { [header]: version } : {} });
      expect(await stream.ended).toBe('complete');
      expect(stream.status).toBe(200);
      expect(stream.raw).toBe(`retry: 3000\ndata: version ${version}\n\n`);
    }
  });

  it('may belong to a request-scoped controller', async () => {
    const server = await create({
      imports: [SseModule.forRoot(), FeatureModule],
      controllers: [Scoped],
      providers: [Caller],
    });
    const streams = await Promise.all(
      ['ada', 'bob'].map((caller) => open(server, '/scoped/feed', { headers: { 'x-caller': caller } })),
    );
    expect((await Promise.all(streams.map((stream) => stream.next()))).map(({ data }) => data)).toEqual([
      'ada',
      'bob',
    ]);
    const owners = [...server.get(SseService).connections].map(({ data }) => data);
    expect(new Set(owners).size).toBe(2);

    const post = await open(server, '/scoped/feed', { method: 'POST', headers: { 'x-caller': 'cyd' } });
    expect(await post.ended).toBe('complete');
    expect(post.status).toBe(200);
    expect(post.raw).toBe('retry: 3000\ndata: cyd\n\n');
  });

  it('receives its connection by @Connection(), beside other parameters', async () => {
    const server = await create(app);
    const { connections } = server.get(SseService);
    const stream = await open(server, '/parameters/connection/blue?lang=de', { lastEventId: '41' });
    expect(await stream.next()).toMatchObject({ type: 'welcome' });
    expect(stream.events[0]!.json()).toEqual({ room: 'blue', lang: 'de', lastEventId: '41' });

    const { connection } = server.get(Parameters);
    expect([...connections]).toEqual([connection]);
    expect(connection).toMatchObject({ data: { room: 'blue', lang: 'de' }, lastEventId: '41' });
    expect(connection!.request).toMatchObject({ headers: { accept: 'text/event-stream' } });

    expect(connection!.send({ data: 'from elsewhere' })).toBe(true);
    expect((await stream.next()).data).toBe('from elsewhere');

    await stream.close();
    expect(await connection!.closed).toBe('client');
    expect(connection!.signal.aborted).toBe(true);
    await waitFor(() => connections.size === 0);
  });

  it('can be ended through its connection', async () => {
    const server = await create(app);
    const stream = await open(server, '/parameters/connection/blue?lang=de');
    await stream.next();
    expect(
      server.get(SseService).connections.close(({ data }) => (data as { lang: string }).lang === 'de'),
    ).toBe(1);
    expect(await stream.ended).toBe('complete');
    expect(await server.get(Parameters).connection!.closed).toBe('server');
  });

  it.each([
    ['the header', '/parameters/last', '17', '17'],
    ['the query', '/parameters/last?lastEventId=18', undefined, '18'],
    ['the header before the query', '/parameters/last?lastEventId=18', '17', '17'],
    ['nothing', '/parameters/last', undefined, undefined],
    ['an empty query', '/parameters/last?lastEventId=', undefined, undefined],
    ['what is no id of ours', '/parameters/last?lastEventId=%00', undefined, undefined],
  ])('receives the id of @LastEventId() from %s', async (_from, path, lastEventId, expected) => {
    const server = await create(app);
    const stream = await open(server, path, { lastEventId });
    expect((await stream.next()).json()).toEqual({ lastEventId: expected });
    const plain = await open(server, path.replace('last', 'last-in-get'), { lastEventId });
    expect(JSON.parse(await plain.body())).toEqual({ lastEventId: expected });
  });

  it('passes the id of @LastEventId() through its pipes', async () => {
    const server = await create(app);
    const stream = await open(server, '/parameters/last-number', { lastEventId: '17' });
    expect((await stream.next()).json()).toEqual({ lastEventId: 17 });
    const anew = await open(server, '/parameters/last-number');
    expect((await anew.next()).json()).toEqual({});
  });
});
