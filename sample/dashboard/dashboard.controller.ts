import {
  Controller,
  Get,
  HttpCode,
  NotFoundException,
  Post,
  Query,
  Req,
  Res,
  Sse,
} from '@nestjs/common';
import type { Request, Response } from 'express';
import {
  closeOn,
  Connection,
  type Follow,
  SseConnection,
  SseService,
} from 'nestjs-event-stream';
import { startWith } from 'rxjs';
import { hasDatabase, instance } from '../instance.js';
import { orders } from '../orders/orders.service.js';
import { commands, CommandsService } from './commands.service.js';
import { LoadService, parcels } from './load.service.js';
import { metrics } from './metrics.service.js';

@Controller('dashboard')
export class DashboardController {
  constructor(
    private readonly sse: SseService,
    private readonly load: LoadService,
    private readonly commands: CommandsService,
  ) {}

  // #region follow
  /** What each process measures of itself. */
  @Get('events')
  events(
    @Req() req: Request,
    @Res() res: Response,
    @Query('client') client: string,
  ): void {
    // Its network is down: see outage() below.
    if (this.commands.cutOff.has(client)) {
      req.socket.resetAndDestroy();
      return;
    }
    const connection = this.sse.connect(res, {
      data: client,
      retryMs: 1_000,
      // Without secrets: an event may refer to those that all clients have got before it.
      compression: 'stream',
    });
    // What is sent is for this client alone: it has no id, and is not replayed.
    connection.send({
      type: 'instance',
      data: { name: instance, process: process.pid, hasDatabase },
    });
    this.tellOfLog(connection, req);
    // Who comes back with a Last-Event-ID gets what it missed, and anybody
    // else the last minute; on whichever instance it is.
    connection.follow([metrics, orders], { from: { agoMs: 60_000 } });
    // It waits behind all that: what comes after it is live.
    connection.send({ type: 'live', data: {} });
  }

  private tellOfLog(connection: SseConnection, req: Request): void {
    const { health } = this.sse;
    health.changes
      .pipe(startWith(health), closeOn(req))
      .subscribe(({ state, reason, since }) =>
        connection.send({ type: 'log', data: { state, reason, since } }),
      );
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
  async outage(@Query('client') client: string): Promise<void> {
    await this.sse.publish(commands, { type: 'outage', data: { client } });
  }

  /** Ends an instance as a crash does. */
  @Post('kill')
  @HttpCode(200)
  async kill(@Query('instance') name: string): Promise<void> {
    if (instance === undefined) {
      throw new NotFoundException(
        'There is one process alone. Start several: npm run start:cluster',
      );
    }
    await this.sse.publish(commands, {
      type: 'kill',
      data: { instance: name },
    });
  }
}
