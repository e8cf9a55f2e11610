import {
  Controller,
  Get,
  HttpCode,
  Post,
  Query,
  Req,
  Res,
  Sse,
} from '@nestjs/common';
import type { Request, Response } from 'express';
import {
  Connection,
  type Follow,
  SseConnection,
  SseService,
} from 'nestjs-event-stream';
import { LoadService, parcels } from './load.service.js';
import { metrics } from './metrics.service.js';

const OUTAGE_MS = 10_000;

@Controller('dashboard')
export class DashboardController {
  /** Clients whose network is down. */
  private readonly cutOff = new Set<string>();

  constructor(
    private readonly sse: SseService,
    private readonly load: LoadService,
  ) {}

  // #region follow
  /** What this process measures of itself. */
  @Get('events')
  events(
    @Req() req: Request,
    @Res() res: Response,
    @Query('client') client: string,
  ): void {
    // Its network is down: see outage() below.
    if (this.cutOff.has(client)) {
      req.socket.resetAndDestroy();
      return;
    }
    const connection = this.sse.connect(res, { data: client, retryMs: 1_000 });
    // Who comes back with a Last-Event-ID gets what it missed, and anybody
    // else the last minute.
    connection.follow(metrics, { from: { agoMs: 60_000 } });
    // It waits behind all that: what comes after it is live.
    connection.send({ type: 'live', data: '' });
  }
  // #endregion

  // #region slow
  /** The same for a client that reads and one that does not. */
  @Sse('parcels')
  parcels(
    @Connection() connection: SseConnection,
    @Query('latest') latest?: string,
  ): Follow {
    this.load.runFor(connection);
    return connection.follow(
      parcels,
      // Of what has waited for it, a slow client then gets the last one alone.
      latest === 'true' ? { latest: () => 'parcel' } : {},
    );
  }
  // #endregion

  /**
   * Plays a network that is down: the page's connection is reset, and every
   * attempt to come back as well, until ten seconds are over.
   */
  @Post('outage')
  @HttpCode(200)
  outage(@Query('client') client: string) {
    this.cutOff.add(client);
    // Not waited for where the app ends before.
    setTimeout(() => this.cutOff.delete(client), OUTAGE_MS).unref();

    const cut = [...this.sse.connections].filter(({ data }) => data === client);
    for (const { request } of cut) {
      (request as Request).socket.resetAndDestroy();
    }
    return { cut: cut.length };
  }
}
