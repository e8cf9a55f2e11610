import { eventStreamOf } from './connection/index.js';
import { isResponse, onceAnswered, toPlatform } from './http/index.js';

/**
 * Returns whether this package serves a response as an event stream, of an `@Sse()` route or of a handler with `@Res()`.
 * Also true after its end, and for a client that was turned away with a stream. Middleware that measures requests asks
 * it, to leave streams out.
 *
 * Before the handler has run it is false: ask when the response ends, or in {@link whenAnswered}.
 *
 * @param res - the response of Express, Fastify or Node; false for anything else
 */
export function isEventStream(res: unknown): boolean {
  return isResponse(res) && eventStreamOf(toPlatform(res).raw) !== undefined;
}

/**
 * Calls back when a request is answered: when an event stream sends its headers, and when any other response ends. So
 * the time until then is what its client has waited, and a stream of an hour is no request of an hour.
 *
 * The callback is called once: in a later turn, or at once if the request is answered already. Middleware that measures
 * requests uses it in place of `res.on('finish', …)`.
 *
 * @param res - the response of Express, Fastify or Node
 * @param callback - what it throws is thrown on for another response; for a stream it is logged
 * @throws SseError `response-invalid` if `res` is no response
 *
 * @example
 * ```ts
 * app.use((req, res, next) => {
 *   const stop = histogram.startTimer({ method: req.method });
 *   whenAnswered(res, () => stop({ status: res.statusCode }));
 *   next();
 * });
 * ```
 */
export function whenAnswered(res: unknown, callback: () => void): void {
  const { raw } = toPlatform(res);
  const isOver = raw.destroyed === true || raw.writableFinished === true;
  if (isOver || eventStreamOf(raw)?.hasHeadersOut) {
    callback();
  } else {
    onceAnswered(raw, callback);
  }
}
