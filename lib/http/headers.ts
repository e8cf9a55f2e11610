import type { OutgoingHttpHeader, OutgoingHttpHeaders } from 'node:http';
import { codingHeaders } from './content-coding.js';
import type { ContentCoding } from './content-coding.js';
import type { Platform, RawResponse } from './platform.js';

// Headers that the event stream sets itself. With a length, the client would take the first bytes for the whole answer.
const OURS = ['content-length', 'content-type', 'cache-control', 'x-accel-buffering', 'connection'];

/** Sets a header, and lets pages of other origins read it if CORS lets them read the answer. */
export function setReadableHeader(platform: Platform, name: string, value: string): void {
  platform.setHeader(name, value);
  const header = 'access-control-expose-headers';
  const readable = platform.headersKept()[header] ?? platform.raw.getHeader(header);
  const names = [readable, name].flat().filter((each) => each !== undefined);
  platform.setHeader('Access-Control-Expose-Headers', names.join(', '));
}

/**
 * Sends the headers of an event stream. Headers that the app, its CORS or its reply have set are kept, except those
 * that would break the stream.
 *
 * @param added - headers that the stream's format needs besides
 * @param coding - given if the stream may be compressed
 */
export function commitHeaders(
  platform: Platform,
  added: Readonly<Record<string, string>> = {},
  coding?: ContentCoding,
): void {
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
  const encoded = coding && codingHeaders(raw, headers, coding);
  OURS.forEach((name) => raw.removeHeader(name));
  // Passed to writeHead: headers that are set one by one stay in memory as long as the stream.
  raw.writeHead(status, {
    ...headers,
    ...encoded?.headers,
    'Content-Type': 'text/event-stream; charset=utf-8',
    'Cache-Control': 'private, no-cache, no-store, no-transform',
    'X-Accel-Buffering': 'no',
    // Forbidden in HTTP/2: RFC 9113, section 8.2.2.
    ...(raw.stream ? {} : { Connection: connection }),
  });
  // This comes last. The lines above may throw, and an exception filter cannot answer once the reply is taken over.
  platform.takeOver();
  if (encoded?.isCompressed) {
    coding?.begin();
  }
}

/**
 * Compacts the head of a response. Node keeps it as long as the response, as some forty pieces of text that take a
 * kilobyte. To search the text joins the pieces.
 */
export function compactHead({ _header: head }: RawResponse): void {
  // HTTP/2 has a boolean here: whether the headers are out.
  if (typeof head === 'string') {
    head.includes('\n');
  }
}

/** Whether the socket closes after this response: by the client's wish, by the app's, or by HTTP/1.0. */
function isLastOfSocket({ raw, rawRequest }: Platform, kept: OutgoingHttpHeader | undefined): boolean {
  return (
    raw.shouldKeepAlive === false ||
    rawRequest.httpVersion === '1.0' ||
    /\bclose\b/i.test(String(kept ?? raw.getHeader('Connection')))
  );
}

/** Returns 200 in place of the 201 that Nest gives a POST: EventSource accepts 200 only (WHATWG HTML, 9.2.3). */
function statusOf(platform: Platform): number {
  const status = platform.status();
  return status === 201 ? 200 : status;
}
