import { afterEach, describe, expect, it } from '@jest/globals';
import { Controller, Get, HttpException, Post, Res } from '@nestjs/common';
import type { INestApplication, LoggerService } from '@nestjs/common';
import { SseModule, SseService } from 'nestjs-event-stream';
import type {
  SseModuleOptions,
  SseStreamOptions,
  StreamEnd,
  StreamFormat,
  StreamSource,
} from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import { of, Subject } from 'rxjs';
import { ConnectionRegistry } from '../../../lib/connection/index.js';
import { Gate } from '../../support/gate.js';
import { closeAll, open, platforms } from '../../support/apps/platforms.js';
import type { Platform } from '../../support/apps/platforms.js';

const ERROR = 'data: {"type":"error","errorText":';
const DONE = 'data: [DONE]\n\n';
const PIECE = { type: 'text-delta', id: 't', delta: 'a' };
const PIECE_FRAME = 'data: {"type":"text-delta","id":"t","delta":"a"}\n\n';

@Controller()
class FormatController {
  source: StreamSource = () => {
    throw new Error('The test hands over no source.');
  };
  options: SseStreamOptions = {};
  readonly ends: StreamEnd[] = [];

  constructor(private readonly sse: SseService) {}

  @Get('answer')
  async answer(@Res() res: object) {
    this.ends.push(await this.sse.stream(res, (context) => this.source(context), this.options));
  }

  @Post('answer')
  answerPost(@Res() res: object) {
    return this.answer(res);
  }

  @Get('connected')
  async connected(@Res() res: object) {
    this.sse.connect(res);
    await this.answer(res);
  }
}

class ErrorLog implements LoggerService {
  readonly errors: string[] = [];

  error(...parts: unknown[]) {
    this.errors.push(parts.map(String).join(' '));
  }

  log() {}
  warn() {}
}

async function create(
  platform: Platform,
  source: StreamSource,
  options: SseStreamOptions,
  moduleOptions: SseModuleOptions = {},
) {
  const logger = new ErrorLog();
  const app: INestApplication = await platform.create(
    { imports: [SseModule.forRoot(moduleOptions)], controllers: [FormatController] },
    { logger },
  );
  const controller = Object.assign(app.get(FormatController), { source, options });
  const sse = app.get(SseService);
  const { wheel } = app.get(ConnectionRegistry);
  return {
    app,
    sse,
    errors: logger.errors,
    end: async () => {
      await waitFor(() => controller.ends.length > 0, { timeoutMs: 15_000 });
      return controller.ends[0]!;
    },
    nothingLeft: () => waitFor(() => sse.connections.size === 0 && wheel.size === 0),
  };
}

const own: StreamFormat<string> = {
  headers: { 'X-Own': 'yes', 'Content-Type': 'text/plain' },
  encode: (item) => item.split('').map((letter) => ({ data: letter })),
  error: ({ reason, message }) => ({ type: 'failed', data: `${reason}: ${message}` }),
  done: () => ({ type: 'end', data: '' }),
};

describe.each(platforms)('stream() with a format, on $name', (platform) => {
  afterEach(closeAll);

  /** Yields one piece, then waits for the abort or for the gate of the test. */
  const waiting = (gate: Gate, piece: unknown = PIECE): StreamSource =>
    async function* ({ signal }) {
      yield piece;
      await Promise.race([gate.opened, new Promise((resolve) => signal.addEventListener('abort', resolve))]);
    };

  it.each(['GET', 'POST'])('tells items and the end, with the format’s headers, to a %s', async (method) => {
    const { app, end, nothingLeft } = await create(
      platform,
      async function* () {
        yield PIECE;
      },
      { format: 'ai-sdk' },
    );

    const stream = await open(app, '/answer', { method });

    expect(await stream.body()).toBe(`retry: 3000\n${PIECE_FRAME}${DONE}`);
    expect(stream.status).toBe(200);
    expect(stream.headers).toMatchObject({
      'x-vercel-ai-ui-message-stream': 'v1',
      'content-type': 'text/event-stream; charset=utf-8',
    });
    expect(await end()).toEqual({ reason: 'done', events: 1, bytes: (PIECE_FRAME + DONE).length });
    await nothingLeft();
  });

  it.each(['openai', 'anthropic', 'ai-sdk', 'ag-ui', 'json', undefined] as const)(
    'refuses bytes, and promises that reject, with the ways out: %s',
    async (format) => {
      const wrong = [
        [() => Buffer.from('data: {}\n\n'), 'TextDecoderStream'],
        [() => Promise.reject(new Error('late')), 'Await it'],
      ] as const;
      for (const [item, wayOut] of wrong) {
        const { app, errors } = await create(
          platform,
          // An Observable, since an async generator awaits what it yields.
          () => of(item()),
          format ? { format } : {},
        );
        const stream = await open(app, '/answer', { method: 'POST' });

        expect(stream.status).toBe(500);
        expect(errors.join()).toContain(wayOut);
      }
    },
  );

  it('tells the end of a source without items', async () => {
    const { app, end } = await create(platform, async function* () {}, { format: 'ai-sdk' });

    const stream = await open(app, '/answer');

    expect(await stream.body()).toBe(`retry: 3000\n${DONE}`);
    expect(await end()).toEqual({ reason: 'done', events: 0, bytes: DONE.length });
  });

  it('ends with the error of the format and no cut, which a client could notice first', async () => {
    const error = new Error('the password is 1234');
    const { app, end, errors, nothingLeft } = await create(
      platform,
      async function* () {
        yield PIECE;
        throw error;
      },
      { format: 'ai-sdk' },
    );

    const stream = await open(app, '/answer', { method: 'POST' });

    const failed = `${PIECE_FRAME}${ERROR}"Internal server error"}\n\n${DONE}`;
    expect(await stream.body()).toBe(`retry: 3000\n${failed}`);
    expect(await end()).toEqual({ reason: 'error', events: 1, bytes: failed.length, error });
    expect(errors).toHaveLength(1);
    await nothingLeft();
  });

  it('keeps the status of an early failure, without the headers of the format', async () => {
    const { app } = await create(
      platform,
      async () => {
        throw new HttpException('slow down', 429);
      },
      { format: 'ai-sdk' },
    );

    const answer = await open(app, '/answer');

    expect(answer.status).toBe(429);
    expect(answer.headers).not.toHaveProperty('x-vercel-ai-ui-message-stream');
  });

  it('treats an item that the format refuses as a failure', async () => {
    const { app, end } = await create(
      platform,
      async function* () {
        yield PIECE;
        yield 'text';
      },
      { format: 'ai-sdk' },
    );

    const stream = await open(app, '/answer');

    expect(await stream.body()).toContain(`${ERROR}"Internal server error"}`);
    expect(await end()).toMatchObject({ reason: 'error', error: { code: 'event-invalid' } });
  });

  it('ends with the error of the format and a retry if the app closes', async () => {
    const { app, end } = await create(platform, waiting(new Gate()), { format: 'ai-sdk' });
    const stream = await open(app, '/answer');
    await stream.next();

    await app.close();

    expect(await stream.body()).toMatch(
      /\n\nretry: \d+\ndata: \{"type":"error","errorText":"The server is closing\. Try again\."\}\n\ndata: \[DONE\]\n\n$/,
    );
    expect(await end()).toMatchObject({ reason: 'shutdown', events: 1 });
  });

  it('ends with the error of the format at its time limit, even before its first item', async () => {
    const { app, end } = await create(platform, () => new Subject(), {
      format: 'ai-sdk',
      expiresAt: new Date(Date.now() + 50),
    });

    const stream = await open(app, '/answer');

    expect(await stream.body()).toBe(
      `retry: 3000\n${ERROR}"The stream has reached its time limit."}\n\n${DONE}`,
    );
    expect(await end()).toMatchObject({ reason: 'expired', events: 0 });
  });

  it('answers a GET that is shed with the error of the format and a retry', async () => {
    const { app } = await create(platform, waiting(new Gate()), { format: 'ai-sdk' }, { maxConnections: 1 });
    const first = await open(app, '/answer');
    await first.next();

    const shed = await open(app, '/answer');

    expect(await shed.body()).toMatch(
      /^retry: \d+\ndata: \{"type":"error","errorText":"Too many event streams are open\. Try again later\."\}\n\ndata: \[DONE\]\n\n$/,
    );
    expect((await open(app, '/answer', { method: 'POST' })).status).toBe(503);
  });

  it('answers HEAD with the head alone', async () => {
    const { app, end } = await create(platform, waiting(new Gate()), { format: 'ai-sdk' });

    const stream = await open(app, '/answer', { method: 'HEAD' });

    expect(stream.headers).toMatchObject({ 'x-vercel-ai-ui-message-stream': 'v1' });
    expect(await end()).toEqual({ reason: 'done', events: 0, bytes: 0 });
  });

  it('says that the headers of the format cannot be added to headers that are out', async () => {
    const { app, errors } = await create(platform, waiting(new Gate()), { format: 'ai-sdk' });

    const stream = await open(app, '/connected');
    await waitFor(() => errors.length > 0);

    expect(errors[0]).toContain('without x-vercel-ai-ui-message-stream, which the format needs');
    await stream.close();
  });

  it('sends items and the end on a connection that was opened before', async () => {
    const { app } = await create(
      platform,
      async function* () {
        yield 1;
      },
      { format: 'json' },
    );

    const stream = await open(app, '/connected');

    expect(await stream.body()).toBe('retry: 3000\ndata: 1\n\nevent: done\ndata: null\n\n');
  });

  it('names the formats that exist', async () => {
    const { app, errors } = await create(platform, waiting(new Gate()), { format: 'open-ai' as 'openai' });

    expect((await open(app, '/answer')).status).toBe(500);
    expect(errors[0]).toContain("format must be one of 'openai', ");
  });

  describe('of the app', () => {
    it('tells items, the end, and headers other than ours', async () => {
      const { app, end } = await create(
        platform,
        async function* () {
          yield 'ab';
          yield '';
        },
        { format: own },
      );

      const stream = await open(app, '/answer');

      expect(await stream.body()).toBe('retry: 3000\ndata: a\n\ndata: b\n\nevent: end\ndata: \n\n');
      expect(stream.headers).toMatchObject({
        'x-own': 'yes',
        'content-type': 'text/event-stream; charset=utf-8',
      });
      expect(await end()).toMatchObject({ reason: 'done', events: 1 });
    });

    it('calls error for a stream that the app stopped, if it has no abort', async () => {
      const { app, sse } = await create(platform, waiting(new Gate(), 'a'), { format: own });
      const stream = await open(app, '/answer');
      await stream.next();

      sse.connections.close();

      expect(await stream.body()).toContain('\nevent: failed\ndata: aborted: The stream was stopped.\n\n');
    });

    it('calls abort for a stream that the app stopped', async () => {
      const format = { ...own, abort: () => ({ data: 'stopped' }) };
      const { app, sse } = await create(platform, waiting(new Gate(), 'a'), { format });
      const stream = await open(app, '/answer');
      await stream.next();

      for (const connection of sse.connections) {
        connection.close();
      }

      expect(await stream.body()).toBe('retry: 3000\ndata: a\n\ndata: stopped\n\n');
    });

    it.each<[string, StreamFormat<string>['error'], number]>([
      ['says nothing of an error', () => undefined, 0],
      ['says an empty list of an error', () => [], 0],
      [
        'throws at an error',
        () => {
          throw new Error('broken format');
        },
        1,
      ],
    ])('is cut, so that its end is no success, where it %s', async (_what, error, reports) => {
      const gate = new Gate();
      const { app, errors, end, nothingLeft } = await create(platform, waiting(gate, 'a'), {
        format: { ...own, error },
        maxConnectionMs: 300,
      });

      const stream = await open(app, '/answer');

      expect(await stream.ended).toBe('aborted');
      expect(stream.raw).toBe('retry: 3000\ndata: a\n\n:\n');
      expect(errors).toHaveLength(reports);
      expect(await end()).toMatchObject({ reason: 'expired' });
      await nothingLeft();
    });

    it('fails if it cannot tell the end', async () => {
      const format: StreamFormat<string> = {
        ...own,
        done: () => {
          throw new Error('no end');
        },
      };
      const gate = new Gate();
      const { app, end } = await create(platform, waiting(gate, 'a'), { format });

      const stream = await open(app, '/answer');
      gate.open();

      expect(await stream.body()).toContain('event: failed\ndata: error: Internal server error\n\n');
      expect(await end()).toMatchObject({ reason: 'error', error: new Error('no end') });
    });

    it('cannot break out of a frame', async () => {
      const format: StreamFormat<string> = {
        ...own,
        encode: (item) => ({ data: `${item}\ndata: x\r\rid: 1` }),
        error: ({ message }) => ({ type: 'failed', data: `${message}\nevent: end` }),
      };
      const { app } = await create(
        platform,
        async function* () {
          yield 'a';
          throw new HttpException('a\n\nevent: end', 400);
        },
        { format },
      );

      const stream = await open(app, '/answer');

      await stream.body();
      expect(stream.events.map(({ type, data }) => [type, data])).toEqual([
        ['message', 'a\ndata: x\n\nid: 1'],
        ['failed', 'a\n\nevent: end\nevent: end'],
      ]);
    });
  });
});
