import { Observable, takeUntil, takeWhile } from 'rxjs';
import type { MonoTypeOperatorFunction } from 'rxjs';
import { exchangeOf } from '../http/index.js';
import type { RequestOrResponse } from '../http/index.js';

/**
 * Ends a stream with the exchange that it serves: completes, and unsubscribes from the source, when the client leaves or
 * the response has been ended, so that nothing goes on being produced for nobody.
 *
 * It takes the request or the response, of Express or Fastify or Node's own, over HTTP/1 and HTTP/2, and does the same
 * for each. A request's `close` event is not what it goes by: that fires when the body has been read, which is before
 * the handler of a POST runs, so that `takeUntil(fromEvent(req, 'close'))` ends such a stream at once or never.
 *
 * - Where the client has left by the time of the subscription, it completes without subscribing to the source.
 * - A value that comes after the response has been ended is not passed on: it completes instead.
 * - Nothing stays behind on the request, the response or a socket that is kept alive, however the stream ends.
 *
 * It needs nothing else of this package: it works in any Nest app, and on plain `node:http`.
 *
 * Under Fastify's `inject()` the request has no connection that could close: give it the reply there.
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
 * @throws {@link SseError} `misuse`, when it is called with what is neither a request nor a response.
 */
export function closeOn<T>(requestOrResponse: RequestOrResponse): MonoTypeOperatorFunction<T> {
  const exchange = exchangeOf(requestOrResponse);
  const ended = new Observable<void>((subscriber) => exchange.whenEnded(() => subscriber.next()));
  // takeWhile as well: no event can interrupt a source that emits on and on in one turn.
  return (source) =>
    source.pipe(
      takeWhile(() => !exchange.hasEnded()),
      takeUntil(ended),
    );
}
