import { Controller, Delete, Get, HttpCode, Param, Post, Req, RequestMethod, Res, Sse } from '@nestjs/common';
import type { INestApplication } from '@nestjs/common';
import { Connection, SseConnection, SseModule, SseOptions, SseService } from 'nestjs-event-stream';
import type { CloseReason, SseModuleOptions } from 'nestjs-event-stream';
import type { CreateOptions, Platform } from '../../support/apps/platforms.js';

/** Routes of both endpoint styles, whose users name themselves in a header. */
@Controller()
export class RevokeController {
  readonly reasons: CloseReason[] = [];
  readonly aborted: string[] = [];

  constructor(private readonly sse: SseService) {}

  @Get('connect')
  connect(@Res() res: object): void {
    this.#watch(this.sse.connect(res));
  }

  @Post('connect')
  connectPost(@Res() res: object): void {
    this.connect(res);
  }

  @Sse('sse')
  stream(@Connection() connection: SseConnection) {
    return this.#watch(connection);
  }

  @Sse('sse', { method: RequestMethod.POST })
  streamPost(@Connection() connection: SseConnection) {
    return this.#watch(connection);
  }

  @Sse('revocable')
  @SseOptions({ revocable: true })
  revocable(@Connection() connection: SseConnection) {
    return this.#watch(connection);
  }

  @Get('answer')
  answer(@Res() res: object) {
    return this.sse.stream(res, endless, { format: 'json' });
  }

  @Get('runs/:owner')
  attach(@Param('owner') owner: string, @Res() res: object) {
    return this.sse.runs.of(owner).attach(res, 'r');
  }

  @Post('runs/:owner')
  @HttpCode(200)
  start(@Param('owner') owner: string) {
    const source = async function* (this: RevokeController, { signal }: { signal: AbortSignal }) {
      signal.addEventListener('abort', () => this.aborted.push(owner));
      yield* endless({ signal });
    };
    return this.sse.runs.of(owner).start('r', source.bind(this));
  }

  @Delete('users/:key')
  async revoke(@Param('key') key: string, @Req() _request: object) {
    await this.sse.revoke(key);
  }

  #watch(connection: SseConnection) {
    void connection.closed.then((reason) => this.reasons.push(reason));
    return connection.follow('>');
  }
}

async function* endless({ signal }: { signal: AbortSignal }) {
  yield 'first';
  await new Promise((resolve) => signal.addEventListener('abort', resolve));
}

export interface RevokeApp {
  readonly app: INestApplication;
  readonly sse: SseService;
  readonly controller: RevokeController;
}

export async function createRevokeApp(
  platform: Platform,
  options: SseModuleOptions = {},
  createOptions: CreateOptions = {},
): Promise<RevokeApp> {
  const keyOf = (request: unknown) =>
    (request as { headers: Record<string, string | undefined> }).headers['x-user']?.split(',');
  const app = await platform.create(
    {
      imports: [SseModule.forRoot({ heartbeatMs: false, keyOf, ...options })],
      controllers: [RevokeController],
    },
    createOptions,
  );
  return { app, sse: app.get(SseService), controller: app.get(RevokeController) };
}

/** The headers of a client that belongs to some keys. */
export const as = (keys: string) => ({ headers: { 'x-user': keys } });
