import type { CallHandler, ExecutionContext, NestInterceptor } from '@nestjs/common';
import { concatMap, Observable, of } from 'rxjs';
import { eventStreamOf } from '../connection/index.js';
import { consume, isPullable } from '../stream/index.js';
import { toPlatform } from '../http/index.js';
import type { EventStreamResponse } from '../connection/index.js';
import { ReturnedSource } from './returned-source.js';

/**
 * Unpacks an async iterable that an `@Sse()` handler returned. It is the innermost interceptor, so that the app's own
 * interceptors see the items one by one, as with an Observable.
 */
export class ItemsInterceptor implements NestInterceptor {
  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const connection = eventStreamOf(toPlatform(context.switchToHttp().getResponse()).raw);
    // Metadata of a handler is shared by all apps of a process. In this app Nest serves the route itself.
    if (!connection) {
      return next.handle();
    }
    return next.handle().pipe(
      concatMap((value: unknown) => {
        const items = value instanceof ReturnedSource ? value.take() : value;
        return isPullable(items) ? itemsOf(items, connection) : of(items);
      }),
    );
  }
}

export function itemsOf(
  items: AsyncIterable<unknown> | ReadableStream<unknown>,
  connection: EventStreamResponse,
): Observable<unknown> {
  return new Observable<unknown>((subscriber) => consume(items, connection, subscriber));
}
