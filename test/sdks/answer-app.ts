import { Controller, Post, Res } from '@nestjs/common';
import type { INestApplication, LoggerService } from '@nestjs/common';
import { SseModule, SseService } from 'nestjs-event-stream';
import type { SseModuleOptions, SseStreamOptions, StreamEnd, StreamSource } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import { ConnectionRegistry } from '../../lib/connection/index.js';
import type { Platform } from '../support/platforms.js';

/** Streams what a test hands over, wherever an SDK asks for it. */
@Controller('answer')
export class AnswerController {
  source: StreamSource = () => {
    throw new Error('The test hands over no source.');
  };
  options: SseStreamOptions = {};
  readonly ends: StreamEnd[] = [];

  constructor(private readonly sse: SseService) {}

  // Where the SDKs ask.
  @Post(['chat/completions', 'v1/messages', 'chat', 'agent', 'json'])
  async answer(@Res() res: object) {
    this.ends.push(await this.sse.stream(res, (context) => this.source(context), this.options));
  }
}

/** What the app's logger was given as errors. */
class ErrorLog implements LoggerService {
  readonly errors: string[] = [];

  error(...parts: unknown[]) {
    this.errors.push(parts.map(String).join(' '));
  }

  log() {}
  warn() {}
}

export interface AnswerApp {
  readonly app: INestApplication;
  readonly controller: AnswerController;
  readonly sse: SseService;
  readonly errors: string[];
  /** Once the only stream has ended. */
  end(): Promise<StreamEnd>;
  /** Resolves once there is no connection and no deadline. */
  nothingLeft(): Promise<unknown>;
}

export async function createAnswerApp(
  platform: Platform,
  source: StreamSource,
  options: SseStreamOptions,
  moduleOptions: SseModuleOptions = {},
): Promise<AnswerApp> {
  const logger = new ErrorLog();
  const app = await platform.create(
    { imports: [SseModule.forRoot(moduleOptions)], controllers: [AnswerController] },
    { logger },
  );
  const controller = app.get(AnswerController);
  Object.assign(controller, { source, options });
  const sse = app.get(SseService);
  const { wheel } = app.get(ConnectionRegistry);
  return {
    app,
    controller,
    sse,
    errors: logger.errors,
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
