import { afterEach, describe, expect, it } from '@jest/globals';
import { ConflictException, Controller, Get, Post, Res, Sse } from '@nestjs/common';
import type { INestApplication, LoggerService } from '@nestjs/common';
import { SseModule, SseService } from 'nestjs-event-stream';
import type { StreamEnd } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import { concat, NEVER, Observable, of, throwError } from 'rxjs';
import { Leftovers } from '../support/leftovers.js';
import { closeAll, open, platforms } from '../support/apps/platforms.js';
import type { Platform } from '../support/apps/platforms.js';

/** A source with a step that throws synchronously, instead of returning a promise that rejects. */
function iterable(failing: 'asyncIterator' | 'next' | 'return'): AsyncIterable<string> {
  const fail = (): never => {
    throw new Error(`${failing} throws`);
  };
  let pulls = 0;
  return {
    [Symbol.asyncIterator]() {
      if (failing === 'asyncIterator') {
        fail();
      }
      return {
        next() {
          pulls += 1;
          if (pulls === 1) {
            return Promise.resolve({ done: false, value: 'first' });
          }
          return failing === 'next' ? fail() : new Promise(() => undefined);
        },
        return: () => (failing === 'return' ? fail() : Promise.resolve({ done: true, value: undefined })),
      };
    },
  };
}

const subscribing = () =>
  new Observable<string>(() => {
    throw new Error('subscribe throws');
  });

const tearingDown = () =>
  new Observable<string>((subscriber) => {
    subscriber.next('first');
    return () => {
      throw new Error('teardown throws');
    };
  });

const completing = () =>
  new Observable<string>((subscriber) => {
    subscriber.add(() => {
      throw new Error('teardown throws');
    });
    subscriber.next('first');
    subscriber.complete();
  });

const failing = () =>
  concat(
    of('first'),
    throwError(() => new Error('secret')),
  );

@Controller()
class ThrowingController {
  readonly ends: (StreamEnd | 'rejected')[] = [];

  constructor(private readonly sse: SseService) {}

  @Sse('healthy')
  healthy() {
    return concat(of('first'), NEVER);
  }

  @Sse('sse/handler')
  handler(): Observable<string> {
    throw new ConflictException('too early');
  }

  @Sse('sse/subscribe')
  subscribe() {
    return subscribing();
  }

  @Sse('sse/late')
  late() {
    return failing();
  }

  @Sse('sse/circular')
  circular() {
    const data: Record<string, unknown> = {};
    data.self = data;
    return concat(of('first', { data }, 'after'), NEVER);
  }

  @Sse('sse/misspelt')
  misspelt() {
    return concat(of({ data: 'first', event: 'never sent' }), NEVER);
  }

  @Sse('sse/teardown')
  teardown() {
    return tearingDown();
  }

  @Sse('sse/iterator')
  iterator() {
    return iterable('asyncIterator');
  }

  @Sse('sse/next')
  next() {
    return iterable('next');
  }

  @Sse('sse/return')
  return() {
    return iterable('return');
  }

  @Get('connect/before')
  connectBefore(@Res() _res: object) {
    throw new ConflictException('too early');
  }

  @Get('stream/source')
  streamSource(@Res() res: object) {
    return this.#stream(res, () => {
      throw new ConflictException('too early');
    });
  }

  @Get('stream/subscribe')
  streamSubscribe(@Res() res: object) {
    return this.#stream(res, subscribing);
  }

  @Post('stream/late')
  streamLate(@Res() res: object) {
    return this.#stream(res, failing);
  }

  @Get('stream/teardown')
  streamTeardown(@Res() res: object) {
    return this.#stream(res, tearingDown);
  }

  @Get('stream/complete')
  streamComplete(@Res() res: object) {
    return this.#stream(res, completing);
  }

  @Post('stream/next')
  streamNext(@Res() res: object) {
    return this.#stream(res, () => iterable('next'));
  }

  @Get('stream/return')
  streamReturn(@Res() res: object) {
    return this.#stream(res, () => iterable('return'));
  }

  async #stream(res: object, source: () => AsyncIterable<string> | Observable<string>) {
    try {
      this.ends.push(await this.sse.stream(res, source));
    } catch (error) {
      this.ends.push('rejected');
      throw error;
    }
  }
}

async function start(platform: Platform, logger: LoggerService | false = false) {
  const app: INestApplication = await platform.create(
    { imports: [SseModule.forRoot()], controllers: [ThrowingController] },
    { logger },
  );
  const leftovers = new Leftovers(app);
  const healthy = await open(app, '/healthy');
  const controller = app.get(ThrowingController);
  return {
    app,
    controller,
    /** Checks that another stream goes on, that its client sees the end of the app, and that nothing is left then. */
    async unharmed({ among = 1 } = {}) {
      await waitFor(() => app.get(SseService).connections.size === among);
      expect(healthy.ending).toBe(undefined);
      await app.close();
      expect(await healthy.ended).toBe('complete');
      expect(healthy.events.map(({ data }) => data)).toEqual(['first']);
      await leftovers.none();
    },
  };
}

afterEach(closeAll);

describe.each(platforms)('on $name, a handler that throws', (platform) => {
  it.each([
    ['in its own call', '/sse/handler', 409],
    ['in its own call, before connect()', '/connect/before', 409],
    ['as stream() asks for the source', '/stream/source', 409],
    ['as its Observable is subscribed to', '/sse/subscribe', 500],
    ['as the Observable of stream() is subscribed to', '/stream/subscribe', 500],
    ['as its iterable is asked for an iterator', '/sse/iterator', 500],
  ])('%s answers with a status, and disturbs no other client', async (_, path, status) => {
    const { app, unharmed } = await start(platform);
    const stream = await open(app, path);
    expect(await stream.ended).toBe('complete');
    expect(stream.status).toBe(status);
    expect(stream.raw).not.toContain('throws');
    await unharmed();
  });

  it.each([
    ['in the midst of an @Sse() stream', '/sse/late'],
    ["in its iterator's next()", '/sse/next'],
  ])('%s sends its client an error event, and disturbs no other client', async (_, path) => {
    const { app, unharmed } = await start(platform);
    const stream = await open(app, path);
    await stream.ended;
    expect(stream.events.map(({ type, data }) => [type, data])).toEqual([
      ['message', 'first'],
      ['error', 'Internal server error'],
    ]);
    await unharmed();
  });

  it('with an event that cannot be sent goes on without it, and disturbs no other client', async () => {
    const { app, unharmed } = await start(platform);
    const stream = await open(app, '/sse/circular');
    await stream.until(({ events }) => events.length === 2);
    expect(stream.events.map(({ data }) => data)).toEqual(['first', 'after']);
    await stream.close();
    await unharmed();
  });

  it.each([
    ['in the midst of a stream()', '/stream/late'],
    ["in its iterator's next(), of a stream()", '/stream/next'],
  ])(
    '%s sends its client an error, does not look finished, and disturbs no other client',
    async (_, path) => {
      const { app, controller, unharmed } = await start(platform);
      const stream = await open(app, path, { method: 'POST' });
      expect(await stream.ended).toBe('aborted');
      expect(stream.events.map(({ type, data }) => [type, data])).toEqual([
        ['message', 'first'],
        ['error', 'Internal server error'],
      ]);
      await waitFor(() => controller.ends.length === 1);
      expect(controller.ends).toMatchObject([{ reason: 'error', events: 1 }]);
      await unharmed();
    },
  );

  it('as the Observable of a stream() has completed ends its stream, and disturbs no other client', async () => {
    const { app, unharmed } = await start(platform);
    const stream = await open(app, '/stream/complete');
    expect(await stream.ended).toBe('complete');
    expect(stream.events.map(({ data }) => data)).toEqual(['first']);
    await unharmed();
  });

  it.each([
    ['in its teardown', '/sse/teardown'],
    ['in its teardown, of a stream()', '/stream/teardown'],
    ["in its iterator's return()", '/sse/return'],
    ["in its iterator's return(), of a stream()", '/stream/return'],
  ])('%s as the client leaves disturbs no other client', async (_, path) => {
    const { app, unharmed } = await start(platform);
    const stream = await open(app, path);
    await stream.next();
    await stream.close();
    expect(stream.raw).not.toContain('throws');
    await unharmed();
  });

  it.each([
    ['in its teardown', '/sse/teardown'],
    ['in its teardown, of a stream()', '/stream/teardown'],
    ["in its iterator's return()", '/sse/return'],
    ["in its iterator's return(), of a stream()", '/stream/return'],
  ])('%s as the app closes does not keep it from closing', async (_, path) => {
    const { app, unharmed } = await start(platform);
    const streams = await Promise.all([open(app, path), open(app, path)]);
    await Promise.all(streams.map((stream) => stream.next()));
    await unharmed({ among: 3 });
    for (const stream of streams) {
      expect(await stream.ended).toBe(path.startsWith('/stream') ? 'aborted' : 'complete');
    }
  });

  it('and whose failure goes to a logger that throws as well disturbs no other client', async () => {
    let calls = 0;
    const log = (): never => {
      calls += 1;
      throw new Error('the disk is full');
    };
    const { app, controller, unharmed } = await start(platform, {
      log: () => undefined,
      error: log,
      warn: log,
    });
    const enhanced = await open(app, '/sse/late');
    expect(await enhanced.ended).toBe('complete');
    const streamed = await open(app, '/stream/late', { method: 'POST' });
    expect(await streamed.ended).toBe('aborted');
    const unknownField = await open(app, '/sse/misspelt');
    expect((await unknownField.next()).data).toBe('first');
    await unknownField.close();
    await waitFor(() => controller.ends.length === 1);
    expect(controller.ends).toMatchObject([{ reason: 'error', events: 1 }]);
    expect(calls).toBe(3);
    await unharmed();
  });
});
