import type { OutgoingHttpHeader, OutgoingHttpHeaders } from 'node:http';
import type { Platform, RawResponse } from './platform.js';

// With a length the client would take the first bytes for the whole answer.
const OURS = ['content-length', 'content-type', 'cache-control', 'x-accel-buffering', 'connection'];

/**
 * Sends the head of an event stream. What the app, its CORS or its reply had set is kept,
 * but for what would break the stream.
 *
 * @param added what the stream's format wants beside ours
 */
export function commitHeaders(platform: Platform, added: Readonly<Record<string, string>> = {}): void {
  const { raw } = platform;
  const status = statusOf(platform);
  // Fastify keeps headers on the reply: writeHead alone would drop CORS and @Header().
  const kept = platform.headersKept();
  const connection = isLastOfSocket(platform, kept.connection) ? 'close' : 'keep-alive';
  const headers: OutgoingHttpHeaders = {};
  for (const [name, value] of [...Object.entries(kept), ...Object.entries(added)]) {
    const key = name.toLowerCase();
    if (value !== undefined && !OURS.includes(key)) {
      headers[key] = value;
    }
  }
  OURS.forEach((name) => raw.removeHeader(name));
  // Handed over as they are sent: what is set by name stays in memory for as long as the stream.
  raw.writeHead(status, {
    ...headers,
    'Content-Type': 'text/event-stream; charset=utf-8',
    'Cache-Control': 'private, no-cache, no-store, no-transform',
    'X-Accel-Buffering': 'no',
    // Forbidden in HTTP/2: RFC 9113, section 8.2.2.
    ...(raw.stream ? {} : { Connection: connection }),
  });
  // After what may fail: of a reply that is taken over, an exception filter cannot make an answer.
  platform.takeOver();
}

/**
 * Node keeps the head as long as the response, made of some forty pieces that take a kilobyte. To
 * search it joins them, here as soon as they are not needed any more.
 */
export function compactHead({ _header: head }: RawResponse): void {
  // HTTP/2 has no text there, but whether the headers are out.
  if (typeof head === 'string') {
    head.includes('\n');
  }
}

/** The client asked for it, or the app, or it is HTTP/1.0, where the end of the connection is that of the body. */
function isLastOfSocket({ raw, rawRequest }: Platform, kept: OutgoingHttpHeader | undefined): boolean {
  return (
    raw.shouldKeepAlive === false ||
    rawRequest.httpVersion === '1.0' ||
    /\bclose\b/i.test(String(kept ?? raw.getHeader('Connection')))
  );
}

/** EventSource takes 200 alone (WHATWG HTML, 9.2.3); Nest gives a POST 201. */
function statusOf(platform: Platform): number {
  const status = platform.status();
  return status === 201 ? 200 : status;
}
