import { isId } from './id.js';

/**
 * Stands for an id that we cannot have sent, in the place of that id. It is no position, so that code which looks for a
 * place in a log finds none: the client has been somewhere, and is not new.
 */
export const UNUSABLE_ID = '';

/**
 * The id that a client gives as the last it has seen: the `Last-Event-ID` header, else `?lastEventId=` of the URL, which
 * a page uses that has been reloaded and cannot set headers on an EventSource. Of several, the first counts.
 *
 * A value is absent if it is empty, `undefined` or `null`, which clients send that have seen nothing yet. It is unusable
 * if it cannot be an id that we sent: not printable ASCII, or longer than 1,024 characters. An unusable header gives way
 * to a usable parameter.
 *
 * @param header - The header as Node gives it.
 * @param url - The request's target, such as `/orders?lastEventId=7`. It is parsed here, so that the app's own query
 * parser, which may make objects of it, has no say.
 * @returns undefined if both are absent, and {@link UNUSABLE_ID} if what there is cannot be used. Nothing that comes
 * through here can break a log line or a header.
 */
export function readResumeId(
  header: string | string[] | undefined,
  url: string | undefined,
): string | undefined {
  const given = [Array.isArray(header) ? header[0] : header, readQuery(url)].filter(isPresent);
  return given.find(isId) ?? (given.length > 0 ? UNUSABLE_ID : undefined);
}

/** As {@link readResumeId}, for the app: undefined also for an id that cannot be used. */
export function readLastEventId(
  header: string | string[] | undefined,
  url: string | undefined,
): string | undefined {
  return readResumeId(header, url) || undefined;
}

function isPresent(value: string | null | undefined): value is string {
  return value !== undefined && value !== null && !ABSENT.has(value);
}

const ABSENT = new Set(['', 'undefined', 'null']);

function readQuery(url = ''): string | null {
  const start = url.indexOf('?');
  return start === -1 ? null : new URLSearchParams(url.slice(start)).get('lastEventId');
}
