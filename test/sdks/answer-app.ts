import { Body, Controller, Delete, Get, Param, Post, Res } from '@nestjs/common';
import type { INestApplication, LoggerService } from '@nestjs/common';
import { LastEventId, SseModule, SseService } from 'nestjs-event-stream';
import type {
  RunEnd,
  RunSource,
  SseConnectOptions,
  SseModuleOptions,
  SseRunOptions,
  SseStreamOptions,
  StreamEnd,
} from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import { ConnectionRegistry } from '../../lib/connection/index.js';
import type { Platform } from '../support/apps/platforms.js';

/** What every SDK's answer is called, where it is a run. */
export const RUN = 'chat-1';

export interface AnswerOptions extends Pick<SseStreamOptions, 'format'> {
  /** Of every connection. */
  connection?: SseConnectOptions;
  /** The answer is a run, with these options; without them it is the stream of its request. */
  run?: Omit<SseRunOptions, 'format' | 'onEnd'>;
}

export type AnswerEnd = Pick<StreamEnd | RunEnd, 'reason' | 'events' | 'bytes' | 'error'>;

// Where the SDKs ask.
const PATHS = ['chat/completions', 'v1/messages', 'chat', 'agent', 'json'];

/** Answers with what a test hands over, wherever an SDK asks for it. */
@Controller('answer')
export class AnswerController {
  source: RunSource = () => {
    throw new Error('The test hands over no source.');
  };
  options: AnswerOptions = {};
  readonly ends: AnswerEnd[] = [];

  constructor(private readonly sse: SseService) {}

  @Post(PATHS)
  async answer(
    @Res() res: object,
    @LastEventId() lastEventId: string | undefined,
    @Body() body?: { id?: string },
  ) {
    const { format, connection, run } = this.options;
    if (!run) {
      const source = ({ signal }: { signal: AbortSignal }) => this.source({ signal, recorded: [] });
      this.ends.push(await this.sse.stream(res, source, { format, ...connection }));
      return;
    }
    const id = body?.id ?? RUN;
    const onEnd = (end: AnswerEnd) => this.ends.push(end);
    // Who comes back for the rest asks nothing new, also where that has ended meanwhile.
    if (lastEventId === undefined) {
      await this.sse.runs.start(id, (context) => this.source(context), { format, onEnd, ...run });
    }
    await this.sse.runs.attach(res, id, connection);
  }

  @Get(PATHS.map((path) => `${path}/:id/stream`))
  async resume(@Res() res: object, @Param('id') id: string) {
    await this.sse.runs.attach(res, id, this.options.connection);
  }

  @Delete(':id')
  async stop(@Param('id') id: string) {
    await this.sse.runs.stop(id);
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
  /** Once the only answer has ended. */
  end(): Promise<AnswerEnd>;
  /** Resolves once there is no connection and no deadline. */
  nothingLeft(): Promise<unknown>;
}

export async function createAnswerApp(
  platform: Platform,
  source: RunSource,
  options: AnswerOptions,
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
        timeoutMs: 15_000,
        describe: () =>
          `nothing to be left, but ${sse.connections.size} connections and ${wheel.size} deadlines are`,
      }),
  };
}
