import { afterEach, describe, expect, it } from '@jest/globals';
import { Controller, Get, Header, Post, Res } from '@nestjs/common';
import { SseModule, SseService } from 'nestjs-event-stream';
import type { SseConnection } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import { closeAll, open, platforms } from '../../support/apps/platforms.js';

@Controller()
class StopController {
  readonly failures: unknown[] = [];
  connection: SseConnection | undefined;

  constructor(private readonly sse: SseService) {}

  @Get('stop')
  @Header('X-Kept', 'yes')
  stop(@Res() res: object) {
    this.#stop(res);
  }

  @Post('stop')
  stopPost(@Res() res: object) {
    this.#stop(res);
  }

  @Get('begun')
  begun(@Res() res: object) {
    this.connection = this.sse.connect(res);
    this.#stop(res);
    this.connection.send('unharmed');
  }

  @Get('ended')
  ended(@Res() res: object) {
    this.sse.connect(res).close();
    this.#stop(res);
    setTimeout(() => this.#stop(res), 20);
  }

  readonly stopped: object[] = [];

  #stop(res: object) {
    try {
      this.sse.stopReconnecting(res);
    } catch (error) {
      this.failures.push(error);
    }
    this.stopped.push(res);
  }
}

describe.each(platforms)('stopReconnecting() on $name', (platform) => {
  afterEach(closeAll);

  const create = async () => {
    const app = await platform.create(
      { imports: [SseModule.forRoot()], controllers: [StopController] },
      { configure: (nest) => nest.enableCors({ origin: 'https://app.example' }) },
    );
    return { app, controller: app.get(StopController) };
  };

  it.each(['GET', 'POST'])('answers a %s with 204 and nothing else', async (method) => {
    const { app } = await create();

    const answer = await open(app, '/stop', { method });

    expect(answer.status).toBe(204);
    expect(await answer.body()).toBe('');
    // Without them a browser's EventSource of another origin would see a network error, and come back.
    expect(answer.headers['access-control-allow-origin']).toBe('https://app.example');
    expect(answer.headers['x-kept']).toBe(method === 'GET' ? 'yes' : undefined);
  });

  it('is refused where the stream has begun, which goes on', async () => {
    const { app, controller } = await create();

    const stream = await open(app, '/begun');

    expect((await stream.next()).data).toBe('unharmed');
    expect(controller.failures).toEqual([
      expect.objectContaining({
        name: 'SseError',
        code: 'misuse',
        message: expect.stringContaining('has sent its headers. End the stream with close()'),
      }),
    ]);
    expect(stream.ending).toBeUndefined();
  });

  it('does nothing where the response has ended', async () => {
    const { app, controller } = await create();

    const stream = await open(app, '/ended');

    expect(await stream.body()).toBe('retry: 3000\n');
    await waitFor(() => controller.stopped.length === 2);
    expect(controller.failures).toEqual([]);
  });
});
