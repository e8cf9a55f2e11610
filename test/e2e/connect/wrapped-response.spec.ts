import { afterEach, describe, expect, it } from '@jest/globals';
import { Controller, Get, Post, Res, Sse, UseFilters, UseInterceptors } from '@nestjs/common';
import type { ArgumentsHost, CallHandler, CanActivate, ExecutionContext } from '@nestjs/common';
import { Connection, SseModule, SseService } from 'nestjs-event-stream';
import type { CloseReason, SseConnection, SseModuleOptions, StreamFormat } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import { Subject, timeout } from 'rxjs';
import { closeAll, open, platforms } from '../../support/apps/platforms.js';
import type { Platform } from '../../support/apps/platforms.js';

type Method = (...args: unknown[]) => unknown;

/** What a middleware gets hold of, and wraps. */
interface Raw {
  write: Method;
  end: Method;
  destroy: Method;
  writeHead: Method;
  listenerCount(event: string): number;
}

interface Response {
  raw?: Raw;
  status(code: number): { send?(body: unknown): unknown; json?(body: unknown): unknown };
}

/** Wraps the response of each request before its handler runs, as loggers, sessions and compressions do. */
class Wrapper implements CanActivate {
  wrap: (raw: Raw, headers: Record<string, string>) => void = () => undefined;

  canActivate(context: ExecutionContext): boolean {
    const http = context.switchToHttp();
    const response: Response = http.getResponse();
    const { headers } = http.getRequest<{ headers: Record<string, string> }>();
    this.wrap(response.raw ?? (response as never), headers);
    return true;
  }
}

class AfterAMoment {
  intercept(_context: ExecutionContext, next: CallHandler) {
    return next.handle().pipe(timeout(150));
  }
}

/** Answers with JSON, as the catch-all filters of many apps do. */
class JsonFilter {
  catch(error: Error, host: ArgumentsHost): void {
    const response: Response = host.switchToHttp().getResponse();
    const answer = response.status(500);
    const body = { message: error.message };
    if (response.raw) {
      answer.send?.(body);
    } else {
      answer.json?.(body);
    }
  }
}

const format: StreamFormat = {
  encode: (data) => ({ data }),
  error: ({ message }) => ({ type: 'failed', data: message }),
  done: () => ({ type: 'done', data: 'all' }),
};

async function* five() {
  for (let n = 0; n < 5; n += 1) {
    yield n;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

async function* oneThenNothing({ signal }: { signal: AbortSignal }) {
  yield 'one';
  await new Promise((resolve) => signal.addEventListener('abort', resolve));
}

@Controller()
class WrappedController {
  readonly bus = new Subject<{ data: string }>();
  readonly connections: SseConnection[] = [];
  readonly reasons: CloseReason[] = [];
  raw: Raw | undefined;

  constructor(private readonly sse: SseService) {}

  @Get('connect')
  connect(@Res() res: Response) {
    this.raw = res.raw ?? (res as never);
    this.#keep(this.sse.connect(res));
  }

  @Get('loop')
  async loop(@Res() res: object) {
    const connection = this.#keep(this.sse.connect(res));
    for (let n = 0; n < 5; n += 1) {
      if (!connection.send({ data: n })) {
        await connection.drained();
      }
    }
    connection.close();
  }

  @Post('answer')
  answer(@Res() res: object) {
    return this.sse.stream(res, five);
  }

  @Sse('generator')
  generator() {
    return five();
  }

  @Sse('bus')
  fromBus(@Connection() connection: SseConnection) {
    this.#keep(connection);
    return this.bus;
  }

  @Sse('follow')
  follow(@Connection() connection: SseConnection) {
    return this.#keep(connection).follow('news');
  }

  @Post('timed')
  @UseInterceptors(AfterAMoment)
  timed(@Res() res: Response) {
    this.raw = res.raw ?? (res as never);
    return this.sse.stream(res, oneThenNothing);
  }

  @Post('timed-format')
  @UseInterceptors(AfterAMoment)
  timedWithFormat(@Res() res: object) {
    return this.sse.stream(res, oneThenNothing, { format });
  }

  @Get('filtered')
  @UseFilters(JsonFilter)
  async filtered(@Res() res: object) {
    this.#keep(this.sse.connect(res)).send('one');
    await new Promise((resolve) => setImmediate(resolve));
    throw new Error('too late');
  }

  @Post('run')
  async run(@Res() res: object) {
    await this.sse.runs.start('run', five);
    await this.sse.runs.attach(res, 'run');
  }

  #keep(connection: SseConnection): SseConnection {
    this.connections.push(connection);
    void connection.closed.then((reason) => this.reasons.push(reason));
    return connection;
  }
}

/** A logger that keeps what is warned of, and the errors. */
class Log {
  readonly warnings: string[] = [];
  readonly errors: string[] = [];
  readonly log = () => undefined;
  readonly debug = () => undefined;
  readonly verbose = () => undefined;
  readonly warn = (message: string) => void this.warnings.push(message);
  readonly error = (message: string) => void this.errors.push(message);
  readonly fatal = this.error;
}

async function create(platform: Platform, options: SseModuleOptions = {}) {
  const wrapper = new Wrapper();
  const log = new Log();
  const app = await platform.create(
    { imports: [SseModule.forRoot(options)], controllers: [WrappedController] },
    { configure: (started) => started.useGlobalGuards(wrapper), logger: log },
  );
  return { app, log, wrapper, sse: app.get(SseService), controller: app.get(WrappedController) };
}

type App = Awaited<ReturnType<typeof create>>;

/** Three streams of a path, of which the second is to be broken. */
async function openThree({ app, controller }: App, path: string) {
  const opened = [];
  for (const headers of [{}, { 'x-broken': '1' }, {}]) {
    const stream = await open(app, path, { headers: headers as Record<string, string> });
    opened.push(stream);
    await waitFor(() => controller.connections.length === opened.length);
    await stream.until(({ raw }) => raw.includes('retry'));
  }
  return opened as [(typeof opened)[0], (typeof opened)[0], (typeof opened)[0]];
}

const throwOn = (name: 'write' | 'end', pattern: RegExp) => (raw: Raw, headers: Record<string, string>) => {
  const method = raw[name];
  if (headers['x-broken']) {
    raw[name] = function (this: Raw, ...args: unknown[]) {
      if (pattern.test(String(args[0]))) {
        throw new Error(`${name} broke`);
      }
      return method.apply(this, args);
    };
  }
};

describe.each(platforms)('a response that somebody has wrapped, on $name', (platform) => {
  afterEach(closeAll);

  it('is given no argument that is undefined', async () => {
    const { app, wrapper, controller } = await create(platform, { heartbeatMs: 30 });
    const given: number[] = [];
    wrapper.wrap = (raw) => {
      const { write } = raw;
      raw.write = function (this: Raw, ...args: unknown[]) {
        given.push(args.filter((arg) => arg === undefined).length);
        return write.apply(this, args);
      };
    };
    const stream = await open(app, '/connect');
    await stream.until(({ comments }) => comments.length > 0);
    controller.connections[0]!.close();
    await stream.ended;
    await (
      await open(app, '/answer', { method: 'POST' })
    ).ended;
    await (
      await open(app, '/generator')
    ).ended;
    expect(given.length).toBeGreaterThan(5);
    expect(given.every((absent) => absent === 0)).toBe(true);
  });

  it.each<[string, unknown]>([
    ['nothing', undefined],
    ['false always', false],
    ['a promise', Promise.resolve(true)],
  ])(
    'may return %s from write: heartbeats, sources, drained() and follow() go on',
    async (_what, returned) => {
      const { app, sse, wrapper } = await create(platform, { heartbeatMs: 10 });
      wrapper.wrap = (raw) => {
        const { write } = raw;
        raw.write = function (this: Raw, ...args: unknown[]) {
          write.apply(this, args);
          return returned;
        };
      };
      const quiet = await open(app, '/connect');
      await quiet.until(({ comments }) => comments.length > 1);
      const streams = [
        await open(app, '/loop'),
        await open(app, '/answer', { method: 'POST' }),
        await open(app, '/generator'),
      ];
      for (const stream of streams) {
        expect(await stream.ended).toBe('complete');
        expect(stream.events.map(({ data }) => data)).toEqual(['0', '1', '2', '3', '4']);
      }
      const follower = await open(app, '/follow');
      await follower.until(({ events }) => events.some(({ type }) => type === 'cursor'));
      await sse.publish('news', 'first');
      await sse.publish('news', 'second');
      // A bound for a stream that stands still: the machine may be busy.
      await follower.until(({ events }) => events.some(({ data }) => data === 'second'), {
        timeoutMs: 60_000,
      });
    },
    90_000,
  );

  it.each(['connect', 'bus', 'follow'])(
    'is destroyed and reported where write throws, and no other client of /%s notices',
    async (path) => {
      const opened = await create(platform);
      const { app, log, sse, wrapper, controller } = opened;
      wrapper.wrap = throwOn('write', /boom/);
      const [first, broken, third] = await openThree(opened, `/${path}`);
      const send = async (data: string) => {
        if (path === 'follow') {
          await sse.publish('news', data);
        } else if (path === 'bus') {
          controller.bus.next({ data });
        } else {
          controller.connections.forEach((connection) => connection.send(data));
        }
      };
      await send('boom');
      await send('after');
      for (const stream of [first, third]) {
        await stream.until(({ events }) => events.some(({ data }) => data === 'after'));
      }
      expect(await broken.ended).toBe('aborted');
      await waitFor(() => controller.reasons.length === 1);
      expect(controller.reasons).toEqual(['error']);
      expect(log.errors.filter((message) => message.includes('threw'))).toHaveLength(1);
      expect(sse.connections.size).toBe(2);
      await app.close();
    },
  );

  it.each(['connect', 'bus', 'follow'])(
    'is destroyed and reported if an async write rejects, and no other client of /%s notices',
    async (path) => {
      const opened = await create(platform);
      const { app, log, sse, wrapper, controller } = opened;
      const rejections: unknown[] = [];
      const onRejection = (error: unknown) => void rejections.push(error);
      process.on('unhandledRejection', onRejection);
      wrapper.wrap = (raw, headers) => {
        const { write } = raw;
        if (headers['x-broken']) {
          raw.write = async function (this: Raw, ...args: unknown[]) {
            if (/boom/.test(String(args[0]))) {
              throw new Error('write broke later');
            }
            return write.apply(this, args);
          };
        }
      };
      const [first, broken, third] = await openThree(opened, `/${path}`);
      if (path === 'follow') {
        await sse.publish('news', 'boom');
      } else if (path === 'bus') {
        controller.bus.next({ data: 'boom' });
      } else {
        controller.connections.forEach((connection) => connection.send('boom'));
      }
      expect(await broken.ended).toBe('aborted');
      for (const stream of [first, third]) {
        await stream.until(({ events }) => events.some(({ data }) => data === 'boom'));
      }
      await waitFor(() => log.errors.some((message) => message.includes('threw')));
      expect(sse.connections.size).toBe(2);
      await app.close();
      process.off('unhandledRejection', onRejection);
      expect(rejections).toEqual([]);
    },
  );

  it('is reported if an async end rejects', async () => {
    const { app, log, wrapper, controller } = await create(platform);
    const rejections: unknown[] = [];
    const onRejection = (error: unknown) => void rejections.push(error);
    process.on('unhandledRejection', onRejection);
    wrapper.wrap = (raw) => {
      raw.end = async () => {
        throw new Error('end broke later');
      };
    };
    const stream = await open(app, '/connect');
    controller.connections[0]!.close();
    await stream.ended;
    await waitFor(() => log.errors.some((message) => message.includes('threw')));
    process.off('unhandledRejection', onRejection);
    expect(rejections).toEqual([]);
  });

  it('goes on with heartbeats where one of three throws at its own', async () => {
    const opened = await create(platform, { heartbeatMs: 40 });
    opened.wrapper.wrap = throwOn('write', /^:\n$/);
    const [first, broken, third] = await openThree(opened, '/connect');
    expect(await broken.ended).toBe('aborted');
    for (const stream of [first, third]) {
      const seen = stream.comments.length;
      await stream.until(({ comments }) => comments.length > seen + 2);
    }
  });

  it('closes the others where end throws, by connections.close() and with the app', async () => {
    const opened = await create(platform);
    const { app, sse, wrapper, controller } = opened;
    wrapper.wrap = throwOn('end', /.*/);
    const before = await openThree(opened, '/connect');
    expect(sse.connections.close()).toBe(3);
    expect(await Promise.all(before.map((stream) => stream.ended))).toEqual([
      'complete',
      'aborted',
      'complete',
    ]);
    controller.connections.length = 0;
    const after = await openThree(opened, '/bus');
    await app.close();
    expect(await Promise.all(after.map((stream) => stream.ended))).toEqual([
      'complete',
      'aborted',
      'complete',
    ]);
  });

  it('holds up no shutdown where destroy does nothing', async () => {
    const { app, wrapper, controller } = await create(platform, { drain: { timeoutMs: 100 } });
    wrapper.wrap = (raw) => {
      raw.destroy = () => undefined;
    };
    const stream = await open(app, '/timed', { method: 'POST' });
    await stream.until(({ events }) => events.length > 0);
    await app.close();
    expect(controller.raw).toBeDefined();
  });

  it('is no complete answer where a timeout() ends a stream(): an error event and a cut, or closing frames', async () => {
    const { app, log, sse, controller } = await create(platform);
    const cut = await open(app, '/timed', { method: 'POST' });
    expect(await cut.ended).toBe('aborted');
    expect(cut.events.map(({ type, data }) => [type, data])).toEqual([
      ['message', 'one'],
      ['error', 'Internal server error'],
    ]);
    const closing = await open(app, '/timed-format', { method: 'POST' });
    expect(await closing.ended).toBe('complete');
    expect(closing.events.map(({ type }) => type)).toEqual(['message', 'failed']);
    expect(log.warnings.filter((message) => message.includes('other code ended'))).toHaveLength(2);
    await waitFor(() => sse.connections.size === 0);
    expect(controller.raw).toBeDefined();
  });

  it('is closed as error where a filter answers after connect()', async () => {
    const { app, log, sse, controller } = await create(platform);
    const stream = await open(app, '/filtered');
    expect(await stream.ended).toBe('aborted');
    await waitFor(() => sse.connections.size === 0 && controller.reasons.length === 1);
    expect(controller.reasons).toEqual(['error']);
    expect(log.warnings).toHaveLength(1);
    expect(log.warnings[0]).toContain('GET /filtered');
  });

  it('can be ended by the app: the client reads all that was sent before', async () => {
    const { app, sse, controller } = await create(platform);
    const stream = await open(app, '/connect');
    await waitFor(() => controller.connections.length === 1);
    controller.connections[0]!.send('one');
    controller.raw!.end();
    expect(controller.connections[0]!.send('two')).toBe(false);
    expect(await stream.ended).toBe('complete');
    expect(stream.events.map(({ data }) => data)).toEqual(['one']);
    await waitFor(() => sse.connections.size === 0);
    expect(controller.reasons).toEqual(['server']);
  });

  it('has its own methods again when the stream is over', async () => {
    const { app, sse, wrapper, controller } = await create(platform);
    let end: Method | undefined;
    wrapper.wrap = (raw) => {
      const { end: nodes } = raw;
      end = function (this: Raw, ...args: unknown[]) {
        return nodes.apply(this, args);
      };
      raw.end = end;
    };
    const stream = await open(app, '/connect');
    await waitFor(() => controller.connections.length === 1);
    controller.connections[0]!.close();
    await stream.ended;
    await waitFor(() => sse.connections.size === 0 && controller.raw!.listenerCount('close') < 10);
    await waitFor(() => controller.raw!.end === end);
    expect(Object.hasOwn(controller.raw!, 'setHeader')).toBe(false);
  });

  // As where Node refuses a header that the app has set.
  it.each(['GET /connect', 'POST /answer', 'POST /run'])(
    'is answered with 500 where writeHead throws for %s',
    async (route) => {
      const { app, sse, wrapper } = await create(platform);
      wrapper.wrap = (raw) => {
        const { writeHead } = raw;
        raw.writeHead = () => {
          raw.writeHead = writeHead;
          throw new Error('writeHead broke');
        };
      };
      const [method, path] = route.split(' ') as [string, string];
      const stream = await open(app, path, { method });
      expect(stream.status).toBe(500);
      expect(stream.headers['content-type']).toContain('application/json');
      expect(await stream.ended).toBe('complete');
      expect(sse.connections.size).toBe(0);
    },
  );
});
