import { isId } from './id.js';

/**
 * Replaces an id that we cannot have sent. It is no position, so that no place in a log is found for it. It is not the
 * same as no id: the client is not new.
 */
export const UNUSABLE_ID = '';

/**
 * Returns the client's last id: the `Last-Event-ID` header, else `?lastEventId=` of the URL. A reloaded page uses the
 * URL, since it cannot set headers on an EventSource. If there are several, the first counts.
 *
 * Empty, `undefined` and `null` mean no id: clients send them before their first event. A value is unusable if it is
 * not printable ASCII or is longer than 1,024 characters: we cannot have sent it. A usable parameter then takes
 * precedence over the header.
 *
 * @param header - The header as Node gives it.
 * @param url - The request's target, such as `/orders?lastEventId=7`. It is parsed here, since the app's query parser
 * may make objects of it.
 * @returns undefined if there is no id, and {@link UNUSABLE_ID} if it cannot be used. The result cannot break a log
 * line or a header.
 */
export function readResumeId(
  header: string | string[] | undefined,
  url: string | undefined,
): string | undefined {
  const given = [Array.isArray(header) ? header[0] : header, readQuery(url)].filter(isPresent);
  return given.find(isId) ?? (given.length > 0 ? UNUSABLE_ID : undefined);
}

/** Returns the client's last id for the app: as {@link readResumeId}, but undefined for an unusable id. */
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
