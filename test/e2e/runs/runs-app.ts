import { Controller, Delete, Get, Param, Post, Query, Res } from '@nestjs/common';
import type { INestApplication, LoggerService, Provider } from '@nestjs/common';
import { SseError, SseModule, SseService } from 'nestjs-event-stream';
import type {
  RunAttachmentEnd,
  SseAttachOptions,
  SseModuleOptions,
  SseRunOptions,
} from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import { ConnectionRegistry, eventStreamOf } from '../../../lib/connection/index.js';
import { toPlatform } from '../../../lib/http/index.js';
import type { Platform } from '../../support/apps/platforms.js';
import { ScriptedSource } from '../../support/apps/scripted-source.js';

/** The routes of a chat: a POST that starts and attaches, a GET that attaches, a DELETE that stops. */
@Controller('runs')
export class RunsController {
  readonly sources = new Map<string, ScriptedSource>();
  readonly ends: RunAttachmentEnd[] = [];
  options: SseRunOptions = {};
  attachOptions: SseAttachOptions = {};

  constructor(private readonly sse: SseService) {}

  /** Returns the source of the run with an id. It is made with the first call. */
  source(id: string): ScriptedSource {
    const known = this.sources.get(id);
    if (known) {
      return known;
    }
    const source = new ScriptedSource();
    this.sources.set(id, source);
    return source;
  }

  @Post(':id')
  async ask(@Param('id') id: string, @Query('owner') owner: string | undefined, @Res() res: object) {
    await this.sse.runs.start(id, (context) => this.source(id).source(context), { ...this.options, owner });
    await this.#attach(res, id, owner);
  }

  @Get(':id')
  async resume(@Param('id') id: string, @Query('owner') owner: string | undefined, @Res() res: object) {
    await this.#attach(res, id, owner);
  }

  @Get(':id/unawaited')
  unawaited(@Param('id') id: string, @Res() res: object) {
    void this.sse.runs.attach(res, id);
  }

  @Post(':id/attach')
  async attachByPost(@Param('id') id: string, @Res() res: object) {
    await this.#attach(res, id, undefined);
  }

  @Get(':id/two-feeds')
  async twoFeeds(@Param('id') id: string, @Res() res: object) {
    const connection = this.sse.connect(res);
    connection.follow('t');
    const refused = [
      await refusalOf(this.sse.runs.attach(res, id)),
      await refusalOf(this.sse.runs.attach(res, id)),
    ];
    connection.send({ type: 'refused', data: { refused } });
  }

  @Get(':id/two-runs')
  async twoRuns(@Param('id') id: string, @Res() res: object) {
    const connection = this.sse.connect(res);
    const attaching = this.sse.runs.attach(res, id);
    await waitFor(() => eventStreamOf(toPlatform(res).raw)?.feed !== undefined);
    try {
      connection.follow('t');
    } catch (error) {
      connection.send(summaryOf(error));
    }
    await attaching;
  }

  @Delete(':id')
  async stop(@Param('id') id: string, @Query('owner') owner: string | undefined) {
    return { wasLive: await this.sse.runs.stop(id, { owner }) };
  }

  async #attach(res: object, id: string, owner: string | undefined): Promise<void> {
    this.ends.push(await this.sse.runs.attach(res, id, { ...this.attachOptions, owner }));
  }
}

function summaryOf(error: unknown): string {
  return error instanceof SseError ? `${error.code} ${error.message}` : String(error);
}

async function refusalOf(task: Promise<unknown>): Promise<string> {
  try {
    return String(await task);
  } catch (error) {
    return summaryOf(error);
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

export interface RunsApp {
  readonly app: INestApplication;
  readonly controller: RunsController;
  readonly sse: SseService;
  readonly errors: readonly string[];
  source(id: string): ScriptedSource;
  /** Resolves once there is no connection and no deadline. */
  nothingLeft(): Promise<unknown>;
}

export async function createRunsApp(
  platform: Platform,
  options: SseRunOptions = {},
  moduleOptions: SseModuleOptions = {},
  providers: Provider[] = [],
): Promise<RunsApp> {
  const logger = new ErrorLog();
  const app = await platform.create(
    { imports: [SseModule.forRoot(moduleOptions)], controllers: [RunsController], providers },
    { logger },
  );
  const controller = app.get(RunsController);
  controller.options = options;
  const registry = app.get(ConnectionRegistry);
  return {
    app,
    controller,
    sse: app.get(SseService),
    errors: logger.errors,
    source: (id) => controller.source(id),
    nothingLeft: () => waitFor(() => registry.size === 0 && registry.wheel.size === 0, { timeoutMs: 15_000 }),
  };
}
