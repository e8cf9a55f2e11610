import type { Platform } from '../http/index.js';
import type { Compression, ConnectionHost } from './response-host.js';

/** Warns that other code answered on a response that serves an event stream, which fails the stream. */
export function warnOfAnswer(host: ConnectionHost, { route, method }: Platform, what: string): void {
  host.warnOnce(
    `answer ${method} ${route}`,
    `${method} ${route}: other code ${what} after the event stream had begun, such as an exception filter for an ` +
      'error of the handler, or an interceptor with timeout(). The stream was closed as "error".',
  );
}

/** Warns that other code ended a response at once, such as Nest on behalf of a handler. */
export function warnOfEarlyEnd(host: ConnectionHost, { route, method }: Platform): void {
  host.warnOnce(
    `end ${method} ${route}`,
    `${method} ${route}: other code ended the response as soon as the event stream had begun. Nest does so where ` +
      'a handler has @Res({ passthrough: true }), or no @Res() at all, or throws: take the response by @Res() ' +
      'alone. To end a stream, call connection.close().',
  );
}

/** Warns that a response cannot be cut, and ends as if it were complete. */
export function warnOfUncut(host: ConnectionHost, { route }: Platform): void {
  host.warnOnce(
    `cut ${route}`,
    `${route}: a stream failed or was stopped, and its response has no connection that could be ` +
      'cut, as under a serverless adapter: it ends as if it were complete. Use a format, or doneEvent of stream().',
  );
}

/** Warns that what a route sends is not the same for several clients, as `compression: 'stream'` needs. */
export function warnOfUnshared(host: ConnectionHost, { route }: Platform): void {
  host.warnOnce(
    `compression ${route}`,
    `${route} has compression: 'stream', and what it sends is not the same for all of its clients: it is compressed as ` +
      "by 'events'. 'stream' is for connections that follow topics by one follow() without a filter, and for runs.",
  );
}

/** Warns that a stream is not compressed, though its route and its client would have it so. */
export function warnOfWrappedWrite(
  host: ConnectionHost,
  { route }: Platform,
  compression: Compression,
): void {
  host.warnOnce(
    `wrapped ${route}`,
    `${route} has compression: '${compression}', and is sent uncompressed: a middleware has wrapped the write of its ` +
      "responses, such as Express's compression or a logger of bodies, and may compress as well. Keep that from " +
      "streams, as by app.use('/pages', compression()), or set compression: false.",
  );
}
