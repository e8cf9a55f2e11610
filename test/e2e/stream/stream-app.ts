import { Controller, Get, Post, Res } from '@nestjs/common';
import type { DynamicModule, INestApplication } from '@nestjs/common';
import { SseModule, SseService } from 'nestjs-event-stream';
import type { SseModuleOptions, StreamEnd, StreamSource } from 'nestjs-event-stream';
import { ConnectionRegistry } from '../../../lib/connection/index.js';
import { waitFor } from 'nestjs-event-stream/testing';
import type { CreateOptions, Platform } from '../../support/apps/platforms.js';

/** A controller that streams the source of the test, and keeps the end of the stream. */
@Controller()
export class StreamController {
  source: StreamSource = () => {
    throw new Error('The test hands over no source.');
  };
  readonly ends: StreamEnd[] = [];
  /** Node's response to the newest request. */
  raw: { readonly headersSent: boolean; destroy(): unknown } | undefined;
  /** The handler waits for this before it calls stream(). */
  ready: Promise<unknown> = Promise.resolve();

  constructor(private readonly sse: SseService) {}

  @Get('awaited')
  async awaited(@Res() res: { raw?: never }) {
    this.raw = res.raw ?? (res as never);
    await this.ready;
    this.ends.push(await this.sse.stream(res, (context) => this.source(context)));
  }

  @Post('awaited')
  awaitedPost(@Res() res: { raw?: never }) {
    return this.awaited(res);
  }

  @Get('returned')
  returned(@Res() res: object) {
    return this.sse.stream(res, (context) => this.source(context));
  }

  @Get('unawaited')
  unawaited(@Res() res: object) {
    void this.sse.stream(res, (context) => this.source(context));
  }

  @Get('as-it-is')
  asItIs(@Res() res: object) {
    return this.sse.stream(res, this.source);
  }
}

export interface StreamApp {
  readonly app: INestApplication;
  readonly controller: StreamController;
  readonly sse: SseService;
  /** Resolves when the only stream has ended. */
  end(): Promise<StreamEnd>;
  /** Resolves once there is no connection and no deadline. */
  nothingLeft(): Promise<unknown>;
}

/** Starts an app with a {@link StreamController}. */
export async function createStreamApp(
  platform: Platform,
  source: StreamSource,
  options: SseModuleOptions = {},
  create: CreateOptions & { providers?: DynamicModule['providers'] } = {},
): Promise<StreamApp> {
  const { providers = [], ...createOptions } = create;
  const app = await platform.create(
    { imports: [SseModule.forRoot(options)], controllers: [StreamController], providers },
    createOptions,
  );
  const controller = app.get(StreamController);
  controller.source = source;
  const sse = app.get(SseService);
  const { wheel } = app.get(ConnectionRegistry);
  return {
    app,
    controller,
    sse,
    end: async () => {
      await waitFor(() => controller.ends.length > 0, { timeoutMs: 15_000 });
      return controller.ends[0]!;
    },
    nothingLeft: () =>
      waitFor(() => sse.connections.size === 0 && wheel.size === 0, {
        describe: () =>
          `nothing to be left, but ${sse.connections.size} connections and ${wheel.size} deadlines are`,
      }),
  };
}
