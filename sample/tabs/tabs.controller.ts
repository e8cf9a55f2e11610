import { Controller, Sse } from '@nestjs/common';
import { Connection, type Follow, SseConnection } from 'nestjs-event-stream';
import { metrics } from '../dashboard/metrics.service.js';

@Controller('tabs')
export class TabsController {
  // #region tabs-server
  /** Nothing of it knows that many tabs read one connection. */
  @Sse('events')
  events(@Connection() connection: SseConnection): Follow {
    return connection.follow(metrics);
  }
  // #endregion
}
