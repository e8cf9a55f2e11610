import { Controller, Get, HttpCode, Module, Post, Query, Res, UseGuards } from '@nestjs/common';
import type { DynamicModule } from '@nestjs/common';
import { SseModule, SseService, SseTicketGuard } from 'nestjs-event-stream';
import { logOn } from '../engine.js';
import type { Engine } from '../engine.js';

export const ROOM = 'rooms.1';
/** Short, but a busy machine keeps a lease of them. */
export const PRESENCE = { graceMs: 3_000, leaseMs: 5_000 };
const MAX_EVENTS = 4_000;

/** Streams that open with a ticket, streams that a revocation ends, and members of a room. */
@Controller()
class TrustController {
  constructor(private readonly sse: SseService) {}

  @Get('ticket')
  @UseGuards(SseTicketGuard)
  ticket(@Res() res: object) {
    this.sse.connect(res).send({ data: 'in' });
  }

  @Get('user')
  user(@Res() res: object) {
    this.sse.connect(res).send({ data: 'in' });
  }

  @Get('revocable')
  revocable(@Res() res: object) {
    this.sse.connect(res, { revocable: true }).send({ data: 'in' });
  }

  @Get('member')
  member(@Query('id') id: string, @Res() res: object) {
    this.sse.connect(res).follow(ROOM, { presence: { id } });
  }

  @Post('revoke')
  @HttpCode(200)
  async revoke(@Query('user') user: string) {
    await this.sse.revoke(user);
    return {};
  }

  @Get('state')
  async state(): Promise<TrustState> {
    const { members } = await this.sse.presence(ROOM).list();
    return { isReady: this.sse.health.state === 'ready', members: members.map(({ id }) => id).sort() };
  }
}

export interface TrustState {
  readonly isReady: boolean;
  readonly members: readonly string[];
}

/** An app on an engine that it shares with others. */
export function trustModule(engine: Engine): DynamicModule {
  return {
    module: TrustModule,
    imports: [
      SseModule.forRoot({
        log: logOn(engine, { maxEvents: MAX_EVENTS }),
        keyOf: (request) => (request as { headers: Record<string, string | undefined> }).headers['x-user'],
        tickets: { secret: 'a secret that all instances share' },
        presence: PRESENCE,
        heartbeatMs: 500,
        retryMs: 10,
        drain: { spreadMs: 100 },
      }),
    ],
  };
}

@Module({ controllers: [TrustController] })
class TrustModule {}
