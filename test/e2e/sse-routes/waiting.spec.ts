import { afterEach, describe, expect, it } from '@jest/globals';
import { Controller, NotFoundException, Query, RequestMethod, Res, Sse } from '@nestjs/common';
import type { PipeTransform } from '@nestjs/common';
import { Connection, LastEventId, SseModule, SseService } from 'nestjs-event-stream';
import type { SseConnection } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import { EMPTY, NEVER, of } from 'rxjs';
import { closeAll, open } from '../../support/apps/platforms.js';
import { served } from './served.js';

const POST = { method: RequestMethod.POST };
const imports = [SseModule.forRoot()];
let asked = 0;

async function* source() {
  asked += 1;
  yield { n: 1 };
}

@Controller()
class Waiting {
  released = 0;

  constructor(private readonly sse: SseService) {}

  @Sse('rows')
  async rows(@Connection() connection: SseConnection) {
    for (let n = 0; n < 40; n += 1) {
      if (!connection.send({ n, text: 'x'.repeat(1000) })) {
        await connection.drained();
      }
    }
    return EMPTY;
  }

  @Sse('follow')
  async follow(@Connection() connection: SseConnection) {
    connection.follow('t', { from: 'earliest' });
    await connection.closed;
    return EMPTY;
  }

  @Sse('closed')
  async closed(@Connection() connection: SseConnection) {
    await connection.closed;
    return EMPTY;
  }

  @Sse('ends')
  async ends(@Connection() connection: SseConnection) {
    connection.close({ retryMs: 9 });
    await connection.closed;
    return EMPTY;
  }

  @Sse('connect')
  async connect(@Res({ passthrough: true }) res: object) {
    await this.sse.connect(res).closed;
    return EMPTY;
  }

  @Sse('late')
  async late(@Connection() connection: SseConnection) {
    connection.send('early');
    await connection.drained();
    await new Promise((resolve) => setTimeout(resolve, 30));
    return source();
  }

  @Sse('nothing')
  async nothing(@Connection() connection: SseConnection) {
    connection.send('early');
    await new Promise((resolve) => setTimeout(resolve, 30));
  }

  @Sse('late-and-missing')
  async lateAndMissing(@Connection() connection: SseConnection) {
    connection.follow('t');
    await new Promise((resolve) => setTimeout(resolve, 30));
    throw new NotFoundException('No such topic.');
  }

  @Sse('stream', POST)
  stream(@Res() res: object) {
    return this.sse.stream(res, source);
  }

  @Sse('run', POST)
  run(@Res() res: object) {
    return this.sse.runs.attach(res, 'r');
  }

  @Sse('pattern')
  pattern(@Connection() connection: SseConnection, @Query('topic') topic: string) {
    return connection.follow(topic);
  }
}

afterEach(closeAll);

describe.each(served)('an @Sse() handler that waits for its client, on $name', ({ name, create }) => {
  const isIntercepted = name.includes('interceptor');

  it('may send until the client has caught up', async () => {
    const app = await create({ imports, controllers: [Waiting] });
    const stream = await open(app, '/rows');
    expect(await stream.ended).toBe('complete');
    expect(stream.events).toHaveLength(40);
  });

  it('may follow, and await the end', async () => {
    const app = await create({ imports, controllers: [Waiting] });
    const sse = app.get(SseService);
    await sse.publish('t', 'first');
    const stream = await open(app, '/follow');
    expect((await stream.next()).data).toBe('first');
    await sse.publish('t', 'second');
    expect((await stream.next()).data).toBe('second');
    await stream.close();
    await waitFor(() => sse.connections.size === 0);
  });

  it.each(['/closed', '/connect'])(
    'sends its headers even if it waits for the end alone: %s',
    async (path) => {
      const app = await create({ imports, controllers: [Waiting] });
      const stream = await open(app, path);
      await stream.until(({ retries }) => retries.length > 0);
      const { connections } = app.get(SseService);
      connections.close();
      expect(await stream.ended).toBe('complete');
      await waitFor(() => connections.size === 0);
    },
  );

  it('may end the stream', async () => {
    const app = await create({ imports, controllers: [Waiting] });
    const stream = await open(app, '/ends');
    expect(await stream.ended).toBe('complete');
    expect(stream.retries).toContain(9);
  });

  it('may return a source after its headers were sent, and fails if it returns none', async () => {
    const app = await create({ imports, controllers: [Waiting] });
    const stream = await open(app, '/late');
    expect(await stream.ended).toBe('complete');
    expect(stream.events.map(({ data }) => data)).toEqual(['early', '{"n":1}']);
    const { connections } = app.get(SseService);
    const nothing = await open(app, '/nothing');
    expect(await nothing.ended).toBe('complete');
    expect(nothing.events[0]!.data).toBe('early');
    await waitFor(() => connections.size === 0);
  });

  it('keeps the status of an error that comes before anything is sent', async () => {
    const app = await create({ imports, controllers: [Waiting] });
    const stream = await open(app, '/late-and-missing');
    expect(stream.status).toBe(isIntercepted ? 200 : 404);
    await waitFor(() => app.get(SseService).connections.size === 0);
  });

  it.each(['/stream', '/run'])('must not answer by itself: %s', async (path) => {
    const app = await create({ imports, controllers: [Waiting] });
    asked = 0;
    const stream = await open(app, path, { method: 'POST' });
    expect(stream.status).toBe(500);
    expect(asked).toBe(0);
    await waitFor(() => app.get(SseService).connections.size === 0);
  });

  it('answers an invalid pattern with 400', async () => {
    const app = await create({ imports, controllers: [Waiting] });
    const stream = await open(app, '/pattern?topic=a..b');
    expect(stream.status).toBe(400);
    expect(JSON.parse(await stream.body())).toMatchObject({
      message: expect.stringContaining('empty token'),
    });
    expect((await open(app, '/pattern?topic=a.b')).status).toBe(200);
  });
});

describe.each(served)('@Connection() on $name', ({ create }) => {
  const rebuilt = (value: unknown): unknown =>
    typeof value === 'object' && value !== null ? Object.fromEntries(Object.entries(value)) : value;
  const pipes: [string, PipeTransform][] = [
    [
      'makes an object of the class of a parameter',
      {
        transform: (value: unknown, { metatype }) =>
          metatype && metatype !== Object && metatype !== String
            ? Object.assign(new (metatype as new () => object)(), value)
            : value,
      },
    ],
    ['rebuilds every object', { transform: rebuilt }],
    [
      'copies by JSON, and trims',
      {
        transform: (value: unknown) =>
          typeof value === 'string' ? value.trim() : (JSON.parse(JSON.stringify(value ?? null)) as unknown),
      },
    ],
  ];

  @Controller()
  class Typed {
    @Sse('typed')
    typed(@Connection() connection: SseConnection, @LastEventId() lastEventId: string | undefined) {
      connection.send({ type: 'typed', data: { lastEventId } });
      return NEVER;
    }

    @Sse('refused')
    refused(@Connection() connection: SseConnection, @Query('a', { transform: refuse }) a: string) {
      return of(a, connection.id);
    }
  }

  function refuse(): never {
    throw new NotFoundException();
  }

  it.each(pipes)('passes through a pipe that %s', async (_what, pipe) => {
    const app = await create(
      { imports, controllers: [Typed] },
      { configure: (server) => server.useGlobalPipes(pipe) },
    );
    const stream = await open(app, '/typed', { lastEventId: '7' });
    expect((await stream.next()).json()).toEqual({ lastEventId: '7' });
    expect((await open(app, '/refused')).status).toBe(404);
  });
});
