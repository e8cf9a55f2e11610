import { isId } from './id.js';

/**
 * The id that a client gives as the last it has seen: the `Last-Event-ID` header, else `?lastEventId=` of the URL, which
 * a page uses that has been reloaded and cannot set headers on an EventSource. Of several, the first counts.
 *
 * Undefined where there is none, where it is empty, and where it could not be an id that we sent: not printable ASCII,
 * or longer than 1,024 characters. Nothing that comes through here can break a log line or a header.
 *
 * @param header - The header as Node gives it.
 * @param url - The request's target, such as `/orders?lastEventId=7`. It is parsed here, so that the app's own query
 * parser, which may make objects of it, has no say.
 */
export function readLastEventId(
  header: string | string[] | undefined,
  url: string | undefined,
): string | undefined {
  // A header that is no id of ours still speaks for the client: the URL is older, from before the first event.
  const value = (Array.isArray(header) ? header[0] : header) || readQuery(url);
  return value && isId(value) ? value : undefined;
}

function readQuery(url = ''): string | null {
  const start = url.indexOf('?');
  return start === -1 ? null : new URLSearchParams(url.slice(start)).get('lastEventId');
}
