import { Observable, takeUntil, takeWhile } from 'rxjs';
import type { MonoTypeOperatorFunction } from 'rxjs';
import { exchangeOf } from '../http/index.js';
import type { RequestOrResponse } from '../http/index.js';

/**
 * Completes a stream, and unsubscribes from its source, when the client leaves or the response has been ended.
 *
 * It takes a request or a response of Express, Fastify or Node, over HTTP/1 and HTTP/2, and behaves the same for each.
 * It does not use the request's `close` event, which fires when the body has been read. For a POST that is before the
 * handler runs: `takeUntil(fromEvent(req, 'close'))` ends such a stream at once or never.
 *
 * - If the client has left before the subscription, the stream completes without subscribing to the source.
 * - A value that comes after the end of the response is dropped, and the stream completes.
 * - However the stream ends, no listener is left on the request, the response or a socket that is kept alive.
 *
 * It needs no other part of this package. It works in any Nest app, and on plain `node:http`.
 *
 * Under Fastify's `inject()` the request has no connection that can close: pass the reply there.
 *
 * @example
 * ```ts
 * @Sse('ticks')
 * ticks(@Req() req: Request): Observable<MessageEvent> {
 *   return interval(1000).pipe(
 *     map((n) => ({ data: { n } })),
 *     closeOn(req),
 *   );
 * }
 * ```
 *
 * @param requestOrResponse - from `@Req()` or `@Res()`
 * @throws {@link SseError} `misuse` if it is given anything but a request or a response
 */
export function closeOn<T>(requestOrResponse: RequestOrResponse): MonoTypeOperatorFunction<T> {
  const exchange = exchangeOf(requestOrResponse);
  const ended = new Observable<void>((subscriber) => exchange.whenEnded(() => subscriber.next()));
  // takeUntil alone is not enough: while a source emits without end in one turn, the event of the end cannot arrive.
  return (source) =>
    source.pipe(
      takeWhile(() => !exchange.hasEnded()),
      takeUntil(ended),
    );
}
