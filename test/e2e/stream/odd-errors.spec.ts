import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Controller, Get, HttpException, Param, Post, Res, Sse } from '@nestjs/common';
import { SseModule, SseService } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import { closeAll, open, platforms } from '../../support/apps/platforms.js';

/** An exception of the app whose methods throw. */
class Broken extends HttpException {
  override getStatus(): number {
    throw new Error('no status');
  }
}

const errors: Record<string, () => unknown> = {
  'an object without a prototype': () => Object.create(null) as unknown,
  'an object that cannot be text': () => ({
    toString() {
      throw new Error('no text');
    },
  }),
  'a symbol': () => Symbol('why'),
  nothing: () => undefined,
  'an exception whose methods throw': () => new Broken('broken', 400),
  'a revoked proxy': () => {
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    return proxy;
  },
};
const names = Object.keys(errors);

@Controller()
class Failing {
  readonly stopped: string[] = [];

  constructor(private readonly sse: SseService) {}

  @Sse('sse/:name')
  ofSse(@Param('name') name: string) {
    return this.#fails(name);
  }

  @Post('stream/:name')
  stream(@Param('name') name: string, @Res() res: object) {
    return this.sse.stream(res, () => this.#fails(name));
  }

  @Post('format/:name')
  format(@Param('name') name: string, @Res() res: object) {
    return this.sse.stream(res, () => this.#fails(name), { format: 'json' });
  }

  @Post('run/:name')
  async run(@Param('name') name: string, @Res() res: object) {
    await this.sse.runs.start(name, () => this.#fails(name), { format: 'json' });
    await this.sse.runs.attach(res, name);
  }

  @Get('left/:name')
  left(@Param('name') name: string, @Res() res: object) {
    const { stopped } = this;
    return this.sse.stream(res, () => ({
      [Symbol.asyncIterator]() {
        let n = 0;
        return {
          next: () =>
            n++ === 0
              ? Promise.resolve({ done: false as const, value: 'one' })
              : new Promise<never>(() => undefined),
          return() {
            stopped.push(name);
            return Promise.reject(errors[name]!());
          },
        };
      },
    }));
  }

  async *#fails(name: string) {
    yield 'one';
    await new Promise((resolve) => setTimeout(resolve, 20));
    throw errors[name]!();
  }
}

describe.each(platforms)('a source may throw any value, on $name', ({ create }) => {
  const rejections: unknown[] = [];
  const onRejection = (error: unknown) => void rejections.push(error);

  beforeEach(() => {
    rejections.length = 0;
    process.on('unhandledRejection', onRejection);
  });

  afterEach(async () => {
    await closeAll();
    process.off('unhandledRejection', onRejection);
  });

  it.each(names)('%s: each client is told, and no error is left uncaught', async (name) => {
    const app = await create({ imports: [SseModule.forRoot()], controllers: [Failing] });
    const path = encodeURIComponent(name);
    const sse = await open(app, `/sse/${path}`);
    expect(await sse.ended).toBe('complete');
    expect(sse.events.at(-1)).toMatchObject({ type: 'error', data: 'Internal server error' });
    expect(await (await open(app, `/stream/${path}`, { method: 'POST' })).ended).toBe('aborted');
    for (const kind of ['format', 'run']) {
      const stream = await open(app, `/${kind}/${path}`, { method: 'POST' });
      expect(await stream.ended).toBe('complete');
      expect(stream.events.at(-1)).toMatchObject({ type: 'error' });
    }
    const left = await open(app, `/left/${path}`);
    await left.until(({ events }) => events.length === 1);
    await left.close();
    await waitFor(() => app.get(Failing).stopped.includes(name));
    await waitFor(() => app.get(SseService).connections.size === 0);
    await new Promise((resolve) => setImmediate(resolve));
    expect(rejections).toEqual([]);
  });
});
