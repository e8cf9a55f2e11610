import { createParamDecorator } from '@nestjs/common';
import type { ExecutionContext, PipeTransform, Type } from '@nestjs/common';
import { readLastEventId } from '../wire/index.js';

interface RequestLike {
  readonly headers: Record<string, string | string[] | undefined>;
  readonly url?: string;
}

/**
 * A parameter with the id of the last event that the client has seen: the `Last-Event-ID` header,
 * else `?lastEventId=` of the URL; undefined where there is none, or none that we could have sent.
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
