import { Inject, Injectable } from '@nestjs/common';
import type { CanActivate, ExecutionContext } from '@nestjs/common';
import { SseService } from './sse.service.js';

/**
 * Lets a request pass whose `?ticket=` opens now: `SseService.tickets` issues it. {@link ticketOf} returns what it says.
 *
 * EventSource comes back by itself to the same URL, with a ticket that is spent. The guard answers a spent, authentic
 * ticket with the status 200, `event: ticket` and the end: the page opens a new EventSource with a fresh ticket. The
 * same answer comes while the log is away. Without an authentic ticket, and for any method but GET, the answer is 401.
 *
 * It answers by itself, so no filter sees a spent ticket. Put guards that are cheap before it, and those that need the
 * user after it: a ticket is spent when this guard has seen it.
 *
 * @example
 * ```ts
 * @Sse('orders')
 * @UseGuards(SseTicketGuard)
 * orders(@Req() request: Request, @Connection() connection: SseConnection) {
 *   const [user] = ticketOf(request)!.keys;
 *   return connection.follow(topic`users.${user}.orders`);
 * }
 * ```
 *
 * @throws SseError `misuse` at the start of the app, without the option `tickets`
 */
@Injectable()
export class SseTicketGuard implements CanActivate {
  readonly #sse: SseService;

  /** @internal */
  constructor(@Inject(SseService) sse: SseService) {
    sse.tickets.require('SseTicketGuard');
    this.#sse = sse;
  }

  canActivate(context: ExecutionContext): Promise<boolean> {
    return this.#sse.tickets.redeem(context.switchToHttp().getResponse<unknown>());
  }
}
