import { setTimeout } from 'node:timers/promises';
import {
  Controller,
  Get,
  Logger,
  type MessageEvent,
  Req,
  Res,
  Sse,
} from '@nestjs/common';
import type { Request, Response } from 'express';
import { closeOn, LastEventId, SseService } from 'nestjs-event-stream';
import { finalize, map, type Observable, timer } from 'rxjs';

@Controller('sse')
export class SseController {
  private readonly logger = new Logger(SseController.name);

  constructor(private readonly sse: SseService) {}

  // #region use-get-decorator
  /** Ten messages, one a second, then the end. */
  @Get('use-get-decorator')
  async useGetDecorator(
    @Res() res: Response,
    @LastEventId() lastEventId?: string,
  ): Promise<void> {
    // To EventSource every end looks like a lost connection: three seconds
    // later it asks again, naming the last id that it saw. After the tenth
    // there is nothing left to send, and only a 204 makes it stay away. Had
    // the connection been lost after the fourth, it would get the fifth now.
    const seen = Number(lastEventId) || 0;
    if (seen >= 10) {
      return this.sse.stopReconnecting(res);
    }

    const end = await this.sse.stream(res, async function* ({ signal }) {
      for (let n = seen + 1; n <= 10; n += 1) {
        yield { id: String(n), data: { message: `收到第 ${n} 条消息` } };
        // Without the signal, this would wait on for a client that has left.
        await setTimeout(1000, undefined, { signal });
      }
    });
    this.logger.log(
      `use-get-decorator: sent ${end.events}, ended: ${end.reason}`,
    );
  }
  // #endregion

  // #region use-sse-decorator
  /** The same message, one a second, for as long as the client stays. */
  @Sse('use-sse-decorator')
  useSseDecorator(@Req() req: Request): Observable<MessageEvent> {
    return timer(0, 1000).pipe(
      map((n) => ({ data: { message: `收到第 ${n + 1} 条消息` } })),
      // Completes when the client leaves, and so stops the timer above.
      closeOn(req),
      finalize(() => this.logger.log('use-sse-decorator: the client left')),
    );
  }
  // #endregion
}
