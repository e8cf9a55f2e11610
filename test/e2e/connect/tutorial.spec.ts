import type { ServerResponse } from 'node:http';
import { afterEach, describe, expect, it } from '@jest/globals';
import { Controller, Get, Param, Post, Res } from '@nestjs/common';
import { SseError, SseModule, SseService } from 'nestjs-event-stream';
import { openSse, waitFor } from 'nestjs-event-stream/testing';
import { AppProcess, endProcesses } from '../../support/apps/app-process.js';
import { closeAll, open, platforms } from '../../support/apps/platforms.js';

/** Express's response, or Fastify's reply. */
type AnyResponse = ServerResponse & {
  header(name: string, value: string): unknown;
  readonly raw?: ServerResponse;
};

const HEADERS = { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' };

const beginnings: Record<
  string,
  (res: AnyResponse, raw: ServerResponse, headers: Record<string, string>) => unknown
> = {
  'sets no header': () => undefined,
  'sets them with res.header': (res, _raw, headers) =>
    Object.entries(headers).forEach(([name, value]) => res.header(name, value)),
  'sets them with res.setHeader': (_res, raw, headers) =>
    Object.entries(headers).forEach(([name, value]) => raw.setHeader(name, value)),
  'calls flushHeaders itself': (_res, raw, headers) => {
    Object.entries(headers).forEach(([name, value]) => raw.setHeader(name, value));
    raw.flushHeaders();
  },
  'calls writeHead itself': (_res, raw, headers) => raw.writeHead(200, headers),
};

@Controller()
class TutorialController {
  readonly answers: boolean[] = [];
  readonly failures: unknown[] = [];

  constructor(private readonly sse: SseService) {}

  @Get('clock/:beginning')
  clock(@Res() res: AnyResponse, @Param('beginning') beginning: string) {
    const raw = res.raw ?? res;
    beginnings[beginning]!(res, raw, HEADERS);
    let n = 0;
    const timer = setInterval(() => {
      n += 1;
      if (n <= 3) {
        this.answers.push(this.sse.sendSseMessage(res, { n }));
      } else if (n === 4) {
        raw.end();
        // HTTP/2 takes a write in the same turn for a failure of the answer, and resets it.
        if (!('stream' in raw)) {
          raw.write('data: by hand\n\n');
        }
        this.answers.push(this.sse.sendSseMessage(res, { n }));
      } else if (n === 10) {
        clearInterval(timer);
        raw.write('data: by hand\n\n');
        this.answers.push(this.sse.sendSseMessage(res, { n }), this.sse.connect(res).send({ n }));
        raw.end();
      }
    }, 5);
  }

  @Post('clock/:beginning')
  clockPost(@Res() res: AnyResponse, @Param('beginning') beginning: string) {
    this.clock(res, beginning);
  }

  @Get('other/:beginning')
  other(@Res() res: AnyResponse, @Param('beginning') beginning: string) {
    const raw = res.raw ?? res;
    beginnings[beginning]!(res, raw, { 'Content-Type': 'application/json' });
    try {
      this.sse.sendSseMessage(res, 'message');
    } catch (error) {
      this.failures.push(error);
    }
    raw.end('{}');
    this.answers.push(this.sse.sendSseMessage(res, 'after the end'));
  }

  @Get('ended')
  ended(@Res() res: AnyResponse) {
    (res.raw ?? res).end('ended');
    this.answers.push(this.sse.sendSseMessage(res, 'late'));
  }

  @Get('alive')
  alive() {
    return 'alive';
  }
}

describe.each(platforms)('a controller as tutorials write it, on $name', (platform) => {
  afterEach(closeAll);

  const create = async () => {
    const app = await platform.create({ imports: [SseModule.forRoot()], controllers: [TutorialController] });
    return { app, sse: app.get(SseService), controller: app.get(TutorialController) };
  };

  it.each(Object.keys(beginnings).flatMap((name) => [['GET', name] as const, ['POST', name] as const]))(
    'works that answers a %s, %s, ends the response and sends on',
    async (method, beginning) => {
      const { app, sse, controller } = await create();

      const stream = await open(app, `/clock/${beginning}`, { method });

      expect(await stream.body()).toBe('retry: 3000\ndata: {"n":1}\n\ndata: {"n":2}\n\ndata: {"n":3}\n\n');
      expect(stream.headers['content-type']).toMatch(/^text\/event-stream(; charset=utf-8)?$/);
      await waitFor(() => controller.answers.length === 6);
      expect(controller.answers).toEqual([true, true, true, false, false, false]);
      expect(sse.connections.size).toBe(0);
      expect(await (await open(app, '/alive')).body()).toBe('alive');
    },
  );

  it.each(['calls flushHeaders itself', 'calls writeHead itself'])(
    'is told that its content type is none of an event stream, where it %s',
    async (beginning) => {
      const { app, controller } = await create();

      const stream = await open(app, `/other/${beginning}`);

      expect(await stream.body()).toBe('{}');
      expect(controller.failures).toEqual([
        expect.objectContaining({
          name: 'SseError',
          code: 'response-invalid',
          message: expect.stringMatching(
            /"application\/json".*Set text\/event-stream, or leave the headers to connect/,
          ),
        }),
      ]);
      expect(controller.failures[0]).toBeInstanceOf(SseError);
      expect(controller.answers).toEqual([false]);
    },
  );

  it('does no harm where something else was answered before', async () => {
    const { app, controller } = await create();

    expect(await (await open(app, '/ended')).body()).toBe('ended');
    expect(controller.answers).toEqual([false]);
  });
});

describe('a write after the end of the response', () => {
  afterEach(endProcesses);

  const script = new URL('tutorial.app.ts', import.meta.url);

  // Fastify listens for the errors of its responses.
  it('ends the process on Express without this package', async () => {
    const process = await AppProcess.start(script, 'bare', 'Express');

    const stream = await openSse(process.base, '/countdown');

    await process.until(({ exitCode }) => exitCode !== undefined);
    expect(process.exitCode).toBe(1);
    expect(process.output).toContain('ERR_STREAM_WRITE_AFTER_END');
    await stream.close();
  });

  it.each(['Express', 'Fastify'])(
    'harms nobody on %s where the response is a connection of ours',
    async (adapter) => {
      const process = await AppProcess.start(script, 'tutorial', adapter);

      for (let n = 0; n < 3; n += 1) {
        const stream = await openSse(process.base, '/countdown');
        expect(await stream.body()).toBe('retry: 3000\ndata: 2\n\ndata: 1\n\n');
        await stream.close();
      }

      expect(process.exitCode).toBeUndefined();
      const alive = await openSse(process.base, '/alive');
      expect(await alive.body()).toBe('alive');
      await alive.close();
    },
  );
});
