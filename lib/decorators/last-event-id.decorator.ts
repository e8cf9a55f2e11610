import { createParamDecorator } from '@nestjs/common';
import type { ExecutionContext, PipeTransform, Type } from '@nestjs/common';
import { readLastEventId } from '../wire/index.js';

interface RequestLike {
  readonly headers: Record<string, string | string[] | undefined>;
  readonly url?: string;
}

/**
 * Injects the id of the last event that the client has received: the `Last-Event-ID` header (WHATWG HTML, 9.2.4), else
 * `?lastEventId=` of the URL. Undefined if there is none, or if it cannot be an id that this package has sent.
 *
 * @example
 * ```ts
 * @Sse('orders')
 * orders(@LastEventId() lastEventId?: string) {
 *   return this.orders.since(lastEventId);
 * }
 * ```
 */
export const LastEventId: (...pipes: (Type<PipeTransform> | PipeTransform)[]) => ParameterDecorator =
  createParamDecorator((_data: unknown, context: ExecutionContext): string | undefined => {
    const { headers, url } = context.switchToHttp().getRequest<RequestLike>();
    return readLastEventId(headers['last-event-id'], url);
  });
