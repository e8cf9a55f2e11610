import type { Platform } from './platform.js';

/**
 * Sends the head of an event stream. What the app, its CORS or its reply had set is kept,
 * but for what would break the stream.
 */
export function commitHeaders(platform: Platform): void {
  const { raw } = platform;
  // Fastify keeps headers on the reply: writeHead alone would drop CORS and @Header().
  for (const [name, value] of Object.entries(platform.headersKept())) {
    if (value !== undefined) {
      raw.setHeader(name, value);
    }
  }
  // With a length the client would take the first bytes for the whole answer.
  raw.removeHeader('Content-Length');
  raw.setHeader('Content-Type', 'text/event-stream; charset=utf-8');
  raw.setHeader('Cache-Control', 'private, no-cache, no-store, no-transform');
  raw.setHeader('X-Accel-Buffering', 'no');
  if (!raw.stream) {
    // Forbidden in HTTP/2: RFC 9113, section 8.2.2.
    raw.setHeader('Connection', isLastOfSocket(platform) ? 'close' : 'keep-alive');
  }
  const status = statusOf(platform);
  platform.takeOver();
  raw.writeHead(status);
}

/** The client asked for it, or the app, or it is HTTP/1.0, where the end of the connection is that of the body. */
function isLastOfSocket({ raw, rawRequest }: Platform): boolean {
  return (
    raw.shouldKeepAlive === false ||
    rawRequest.httpVersion === '1.0' ||
    /\bclose\b/i.test(String(raw.getHeader('Connection')))
  );
}

/** EventSource takes 200 alone (WHATWG HTML, 9.2.3); Nest gives a POST 201. */
function statusOf(platform: Platform): number {
  const status = platform.status();
  return status === 201 ? 200 : status;
}
