import { Readable } from 'node:stream';
import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { Catch, HttpException, UnauthorizedException } from '@nestjs/common';
import type { ArgumentsHost, ExceptionFilter, LoggerService } from '@nestjs/common';
import { APP_FILTER } from '@nestjs/core';
import { concat, of, throwError } from 'rxjs';
import type { SseError, StreamItems, StreamSource } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import { Gate } from '../../support/gate.js';
import { closeAll, open, platforms } from '../../support/apps/platforms.js';
import { createStreamApp } from './stream-app.js';

class ProviderError extends Error {}

/** The methods that Express's response and Fastify's reply share. */
interface AnyResponse {
  status(code: number): this;
  header(name: string, value: string): this;
  send(body: unknown): unknown;
}

/** A filter that keeps its errors, and answers after a while. */
@Catch(ProviderError)
class SlowFilter implements ExceptionFilter {
  static readonly gate = { current: new Gate() };
  static readonly caught: unknown[] = [];

  async catch(exception: ProviderError, host: ArgumentsHost) {
    SlowFilter.caught.push(exception);
    await SlowFilter.gate.current.opened;
    const response = host.switchToHttp().getResponse<AnyResponse>();
    response.status(429).header('Retry-After', '7').send({ provider: exception.message });
  }
}

/** A logger that keeps the errors of the app. */
class ErrorLog implements LoggerService {
  readonly errors: string[] = [];

  error(...parts: unknown[]) {
    this.errors.push(parts.map(String).join(' '));
  }

  log() {}
  warn() {}
}

async function* generator() {
  yield 'item';
}

const failing = (first: unknown[], error: unknown): [string, StreamSource][] => {
  const items = async function* () {
    yield* first;
    throw error;
  };
  const iterator = first[Symbol.iterator]();
  return [
    ['an async generator', items],
    [
      'a ReadableStream',
      () =>
        new ReadableStream({
          pull(controller) {
            const { done, value } = iterator.next();
            if (done) {
              controller.error(error);
            } else {
              controller.enqueue(value);
            }
          },
        }),
    ],
    ['a Readable of Node', () => Readable.from(items())],
    [
      'an Observable',
      () =>
        concat(
          of(...first),
          throwError(() => error),
        ),
    ],
  ];
};

const failingEarly = (error: unknown): [string, StreamSource][] => [
  ...failing([], error),
  [
    'a function that throws',
    () => {
      throw error;
    },
  ],
  [
    'a promise that rejects',
    async () => {
      throw error;
    },
  ],
];

const names = (sources: [string, StreamSource][]) => sources.map(([name]) => name);
const named = (sources: [string, StreamSource][], name: string) => new Map(sources).get(name)!;

describe.each(platforms)('a stream() that fails before its first item, on $name', (platform) => {
  afterEach(closeAll);

  it.each(names(failingEarly(undefined)))(
    'is answered with the status of its HttpException, %s',
    async (name) => {
      const source = named(failingEarly(new UnauthorizedException('no key')), name);
      const logger = new ErrorLog();
      const { app, nothingLeft } = await createStreamApp(platform, source, {}, { logger });

      const answer = await open(app, '/awaited');

      expect(answer.status).toBe(401);
      expect(answer.headers['content-type']).toMatch(/^application\/json\b/);
      expect(JSON.parse(await answer.body())).toEqual({
        statusCode: 401,
        message: 'no key',
        error: 'Unauthorized',
      });
      expect(logger.errors).toEqual([]);
      await nothingLeft();
    },
  );

  it.each(names(failingEarly(undefined)))('is answered with a masked 500, %s', async (name) => {
    const source = named(failingEarly(new Error('the password is 1234')), name);
    const logger = new ErrorLog();
    const { app, nothingLeft } = await createStreamApp(platform, source, {}, { logger });

    const answer = await open(app, '/awaited', { method: 'POST' });

    expect(answer.status).toBe(500);
    expect(JSON.parse(await answer.body())).toEqual({ statusCode: 500, message: 'Internal server error' });
    expect(logger.errors).toHaveLength(1);
    expect(logger.errors[0]).toContain('the password is 1234');
    await nothingLeft();
  });

  it.each(['/awaited', '/returned'])(
    'is left to a filter of the app, however long that takes, %s',
    async (path) => {
      SlowFilter.gate.current = new Gate();
      SlowFilter.caught.length = 0;
      const error = new ProviderError('rate limit');
      const { app, nothingLeft } = await createStreamApp(
        platform,
        named(failing([], error), 'an async generator'),
        {},
        { providers: [{ provide: APP_FILTER, useClass: SlowFilter }] },
      );
      const opening = open(app, path);
      await waitFor(() => SlowFilter.caught.length > 0);
      await nothingLeft();
      // Turns of the event loop in which other code could answer.
      for (let turn = 0; turn < 10; turn += 1) {
        await new Promise((resolve) => setImmediate(resolve));
      }
      SlowFilter.gate.current.open();

      const answer = await opening;

      expect(answer.status).toBe(429);
      expect(answer.headers['retry-after']).toBe('7');
      expect(JSON.parse(await answer.body())).toEqual({ provider: 'rate limit' });
      expect(SlowFilter.caught).toEqual([error]);
    },
  );

  it('leaves the socket of the client usable for the next request', async () => {
    let isFailing = true;
    const { app } = await createStreamApp(platform, async function* () {
      if (isFailing) {
        throw new HttpException('not yet', 425);
      }
      yield 'now';
    });
    const answer = await open(app, '/awaited');
    expect(answer.status).toBe(425);
    await answer.body();
    isFailing = false;

    const stream = await answer.reconnect();

    expect(await stream.body()).toBe('retry: 3000\ndata: now\n\n');
  });

  it.each<[string, unknown]>([
    ['undefined', undefined],
    ['a string', 'text'],
    ['a generator', generator()],
  ])('says that it takes a function, and not %s', async (_what, source) => {
    const logger = new ErrorLog();
    const { app, nothingLeft } = await createStreamApp(platform, source as StreamSource, {}, { logger });

    const answer = await open(app, '/as-it-is');

    expect(answer.status).toBe(500);
    expect(logger.errors).toHaveLength(1);
    expect(logger.errors[0]).toContain('takes a function that makes the source');
    await nothingLeft();
  });

  it.each<[string, unknown]>([
    ['undefined', undefined],
    ['null', null],
    ['a string', 'text'],
    ['an array', ['a', 'b']],
    ['a function that was not called', generator],
    ['a promise of nothing', Promise.resolve()],
  ])('says what a source gives, where it gives %s', async (_what, items) => {
    const caught: SseError[] = [];
    @Catch()
    class KeepingFilter implements ExceptionFilter {
      catch(exception: SseError, host: ArgumentsHost) {
        caught.push(exception);
        host.switchToHttp().getResponse<AnyResponse>().status(500).send({});
      }
    }
    const { app, nothingLeft } = await createStreamApp(
      platform,
      () => items as StreamItems,
      {},
      { providers: [{ provide: APP_FILTER, useClass: KeepingFilter }] },
    );

    const answer = await open(app, '/awaited');

    expect(answer.status).toBe(500);
    expect(caught).toHaveLength(1);
    expect(caught[0]).toMatchObject({ name: 'SseError', code: 'misuse' });
    expect(caught[0]!.message).toMatch(
      /^A source gives an AsyncIterable, a ReadableStream or an Observable, got .*Did you forget to call the generator/,
    );
    await nothingLeft();
  });

  it('includes a stream whose first item cannot be sent', async () => {
    const logger = new ErrorLog();
    const { app, nothingLeft } = await createStreamApp(
      platform,
      async function* () {
        yield { data: 1n };
      },
      {},
      { logger },
    );

    const answer = await open(app, '/awaited');

    expect(answer.status).toBe(500);
    expect(logger.errors).toHaveLength(1);
    expect(logger.errors[0]).toContain('"data" cannot be written as JSON');
    await nothingLeft();
  });
});

describe.each(platforms)('a stream() that fails later, on $name', (platform) => {
  afterEach(async () => {
    jest.useRealTimers();
    await closeAll();
  });

  const kinds = names(failing([], undefined));

  it.each(kinds.flatMap((name) => [['GET', name] as const, ['POST', name] as const]))(
    'is told by an error event without its message, then a cut, to a %s, %s',
    async (method, name) => {
      const error = new Error('the password is 1234');
      const logger = new ErrorLog();
      const source = named(failing(['one', 'two'], error), name);
      const { app, end, nothingLeft } = await createStreamApp(platform, source, {}, { logger });

      const stream = await open(app, '/awaited', { method });

      expect(await stream.ended).toBe('aborted');
      // NO_ERROR, with which Node resets by itself, reads like the end of a whole answer to some clients.
      expect(stream.error?.message).toMatch(platform.http2 ? 'NGHTTP2_INTERNAL_ERROR' : 'aborted');
      expect(stream.raw).toBe(
        'retry: 3000\ndata: one\n\ndata: two\n\nevent: error\ndata: Internal server error\n\n:\n',
      );
      const frames = 'data: one\n\ndata: two\n\nevent: error\ndata: Internal server error\n\n';
      expect(await end()).toEqual({ reason: 'error', events: 2, bytes: frames.length, error });
      expect((await end()).error).toBe(error);
      expect(logger.errors).toHaveLength(1);
      expect(logger.errors[0]).toContain('the password is 1234');
      await nothingLeft();
    },
  );

  it('tells the client the message of an HttpException, which is meant for it', async () => {
    const source = named(failing(['one'], new HttpException('rate limit', 429)), 'an async generator');
    const { app } = await createStreamApp(platform, source);

    const stream = await open(app, '/awaited');

    expect(await stream.ended).toBe('aborted');
    expect(stream.events.at(-1)).toMatchObject({ type: 'error', data: 'rate limit' });
  });

  it('includes a stream with a later item that cannot be sent', async () => {
    let isStopped = false;
    const { app, end } = await createStreamApp(platform, async function* () {
      try {
        yield 'one';
        yield { data: 1n };
      } finally {
        isStopped = true;
      }
    });

    const stream = await open(app, '/awaited');

    expect(await stream.ended).toBe('aborted');
    expect(stream.events.map(({ type }) => type)).toEqual(['message', 'error']);
    expect(await end()).toMatchObject({
      reason: 'error',
      events: 1,
      error: { code: 'event-invalid', field: 'data' },
    });
    await waitFor(() => isStopped);
  });

  it('is told and cut even if its message is longer than maxEventBytes', async () => {
    const source = named(failing(['one'], new HttpException('x'.repeat(500), 429)), 'an async generator');
    const { app, end } = await createStreamApp(platform, source, { maxEventBytes: 100 });

    const stream = await open(app, '/awaited');

    expect(await stream.ended).toBe('aborted');
    expect(stream.events).toMatchObject([{ data: 'one' }, { type: 'error', data: 'x'.repeat(500) }]);
    expect(await end()).toMatchObject({ reason: 'error', events: 1 });
  });

  it('has no status any more once the headers went out without an item', async () => {
    const gate = new Gate();
    const { app, controller, end } = await createStreamApp(platform, async function* () {
      await gate.opened;
      yield* [];
      throw new UnauthorizedException('no key');
    });
    // Only the clock of the app is faked: the client's deadlines run on real time.
    jest.useFakeTimers({ doNotFake: ['nextTick', 'setImmediate', 'queueMicrotask'] });
    const opening = open(app, '/awaited');
    await waitFor(() => controller.raw);
    await jest.advanceTimersByTimeAsync(3_100);
    const stream = await opening;
    gate.open();
    await stream.until(({ events }) => events.length > 0);
    // Lets the pause before the cut pass.
    await jest.advanceTimersByTimeAsync(1_000);

    expect(await stream.ended).toBe('aborted');
    expect(stream.status).toBe(200);
    expect(stream.events).toMatchObject([{ type: 'error', data: 'no key' }]);
    expect(await end()).toMatchObject({ reason: 'error', events: 0 });
  });

  it('is told in the same way to a client that comes back', async () => {
    const { app } = await createStreamApp(
      platform,
      named(failing(['one'], new Error('broken')), 'an async generator'),
    );
    const stream = await open(app, '/awaited');
    await stream.ended;

    const again = await stream.reconnect();

    expect(await again.ended).toBe('aborted');
    expect(again.events.map(({ data }) => data)).toEqual(['one', 'Internal server error']);
  });
});

describe.each(platforms)('a stream() that is not awaited, on $name', (platform) => {
  afterEach(closeAll);

  it('answers an early failure with a masked 500, and logs it', async () => {
    const logger = new ErrorLog();
    const source = named(failing([], new Error('the password is 1234')), 'an async generator');
    const { app, nothingLeft } = await createStreamApp(platform, source, {}, { logger });

    const answer = await open(app, '/unawaited');

    expect(answer.status).toBe(500);
    expect(JSON.parse(await answer.body())).toEqual({ statusCode: 500, message: 'Internal server error' });
    expect(logger.errors).toHaveLength(1);
    expect(logger.errors[0]).toContain('the password is 1234');
    await nothingLeft();
  });

  it('answers an early HttpException with its status', async () => {
    const source = named(failing([], new HttpException('rate limit', 429)), 'an async generator');
    const { app } = await createStreamApp(platform, source);

    const answer = await open(app, '/unawaited');

    expect(answer.status).toBe(429);
    expect(JSON.parse(await answer.body())).toEqual({ statusCode: 429, message: 'rate limit' });
  });

  it('tells a later failure as every other stream does', async () => {
    const logger = new ErrorLog();
    const source = named(failing(['one'], new Error('the password is 1234')), 'an async generator');
    const { app, nothingLeft } = await createStreamApp(platform, source, {}, { logger });

    const stream = await open(app, '/unawaited');

    expect(await stream.ended).toBe('aborted');
    expect(stream.events.map(({ data }) => data)).toEqual(['one', 'Internal server error']);
    expect(logger.errors).toHaveLength(1);
    await nothingLeft();
  });
});
