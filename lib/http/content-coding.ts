import type { OutgoingHttpHeader, OutgoingHttpHeaders } from 'node:http';
import { isNodeWrite } from './covers.js';
import type { RawResponse } from './platform.js';

/** The compression of a response, as its headers are sent. */
export interface ContentCoding {
  /** Whether the client takes it, by `Accept-Encoding`. */
  readonly isAccepted: boolean;
  /** The headers are out, and say that the body is compressed. */
  begin(): void;
  /** The client takes it, and the body is not compressed, because a middleware has wrapped `write`. */
  onWrapped(): void;
}

/** Headers that a compression adds. */
interface CodingHeaders {
  readonly headers: OutgoingHttpHeaders;
  readonly isCompressed: boolean;
}

const NONE: CodingHeaders = { headers: {}, isCompressed: false };

/**
 * Returns the headers of a compression: none for a response that the app has encoded itself, else `Vary`, and
 * `Content-Encoding` if the client takes it and no middleware has wrapped `write`, which may compress as well. Calls
 * `onWrapped` if one has.
 *
 * @param headers - the other headers that are about to be sent, with names in lower case
 */
export function codingHeaders(
  raw: RawResponse,
  headers: OutgoingHttpHeaders,
  coding: ContentCoding,
  isWrapped = isWriteWrapped(raw),
): CodingHeaders {
  const kept = (name: string): OutgoingHttpHeader | undefined => headers[name] ?? raw.getHeader(name);
  if (kept('content-encoding') !== undefined) {
    return NONE;
  }
  const isCompressed = coding.isAccepted && !isWrapped;
  if (coding.isAccepted && isWrapped) {
    coding.onWrapped();
  }
  return {
    headers: {
      vary: withAcceptEncoding(kept('vary')),
      ...(isCompressed ? { 'content-encoding': 'gzip' } : {}),
    },
    isCompressed,
  };
}

/**
 * Adds a compression to the headers that other code is about to send: to those of an event stream alone. An answer that
 * an exception filter sends in its place is left as it is.
 */
export function announceCoding(raw: RawResponse, coding: ContentCoding, isWrapped: boolean): void {
  const isOwn = Object.hasOwn(raw, 'writeHead');
  const writeHead = Reflect.get<RawResponse, 'writeHead'>(raw, 'writeHead');
  const announcing = function (this: RawResponse, ...args: unknown[]): unknown {
    if (raw.writeHead === announcing) {
      if (isOwn) {
        raw.writeHead = writeHead;
      } else {
        Reflect.deleteProperty(raw, 'writeHead');
      }
    }
    const [status, given] = args;
    const headers = typeof given === 'object' && given !== null ? lowerCased(given) : {};
    if (!/^text\/event-stream\b/i.test(String(headers['content-type']))) {
      return Reflect.apply(writeHead, this, args);
    }
    const { headers: added, isCompressed } = codingHeaders(raw, headers, coding, isWrapped);
    const answer: unknown = Reflect.apply(writeHead, this, [status, { ...headers, ...added }]);
    if (isCompressed) {
      coding.begin();
    }
    return answer;
  };
  raw.writeHead = announcing;
}

/** Whether middleware has wrapped the `write` of a response: a logger, a session, a compression. */
export function isWriteWrapped(raw: RawResponse): boolean {
  // The class of HTTP/2 is not compared: to import it would load node:http2 in every HTTP/1.1 app.
  return raw.stream ? Object.hasOwn(raw, 'write') : !isNodeWrite(Reflect.get(raw, 'write'));
}

/** Adds `Accept-Encoding` to a `Vary` (RFC 9110, section 12.5.5), unless it stands there. */
function withAcceptEncoding(vary: OutgoingHttpHeader | undefined): string {
  const names = [vary]
    .flat()
    .flatMap((value) => String(value ?? '').split(','))
    .map((name) => name.trim())
    .filter((name) => name !== '');
  const isThere = names.some((name) => name === '*' || name.toLowerCase() === 'accept-encoding');
  return (isThere ? names : [...names, 'Accept-Encoding']).join(', ');
}

function lowerCased(headers: object): OutgoingHttpHeaders {
  const entries = Object.entries(headers as OutgoingHttpHeaders);
  return Object.fromEntries(entries.map(([name, value]) => [name.toLowerCase(), value]));
}
