import { encodeEvent } from '../wire/index.js';
import type { SseEvent } from '../wire/index.js';

/** The reason why a stream ended before its source did, as far as its client may know it. */
export interface StreamFailure {
  /**
   * - `error`: the source failed.
   * - `expired`: `maxConnectionMs` or `expiresAt` has passed.
   * - `shutdown`: the app is closing.
   * - `shed`: too many streams are open.
   * - `aborted`: the app ended the stream. It occurs only if the format has no `abort`.
   */
  readonly reason: 'error' | 'expired' | 'shutdown' | 'shed' | 'aborted';
  /**
   * A message for the client. After an error it is `Internal server error`, unless the error is an `HttpException`:
   * its message is meant for the client.
   */
  readonly message: string;
  /**
   * The HTTP status with which the request would have been answered if the stream had not begun. It is set for `error`,
   * `shutdown` and `shed`.
   */
  readonly status?: number;
}

/**
 * The events that a format makes at once: one, several, or none. Each is an object with `data`, and with a `type` if
 * the format's clients listen for names.
 */
export type FormatEvents = SseEvent | readonly SseEvent[] | undefined;

/**
 * The protocol of a stream: it turns items, failures and the end into events for the client. A format that keeps state
 * serves one stream: make a new one for each stream.
 *
 * @example
 * ```ts
 * const lines: StreamFormat<string> = {
 *   encode: (line) => ({ data: line }),
 *   error: ({ message }) => ({ type: 'failed', data: message }),
 *   done: () => ({ type: 'end', data: '' }),
 * };
 * ```
 */
export interface StreamFormat<T = unknown> {
  /**
   * Further headers of the response. The content type and the headers against buffering in proxies are set in any case.
   */
  readonly headers?: Readonly<Record<string, string>>;
  /** Makes the events for one item of the source. If it throws, the stream fails, as if the source had thrown. */
  encode(item: T): FormatEvents;
  /**
   * Makes the closing events of a stream that is not complete. If there are none, the response is cut, so that the
   * client does not take its end for success.
   */
  error(failure: StreamFailure): FormatEvents;
  /** Makes the closing events of a stream whose source has come to its end. */
  done(): FormatEvents;
  /** Makes the closing events of a stream that the app has ended on purpose. Without it, `error` is called. */
  abort?(): FormatEvents;
}

/** Returns the events of a format as a list. */
export function eventsOf(events: FormatEvents): readonly SseEvent[] {
  if (events === undefined) {
    return [];
  }
  return isList(events) ? events : [events];
}

/** Encodes closing frames. Their length has no limit: a refusal would hide the end from the client. */
export function closingFramesOf(events: FormatEvents): string {
  return eventsOf(events)
    .map((event) => encodeEvent(event, { maxEventBytes: Infinity }))
    .join('');
}

// Array.isArray() does not narrow a union to its readonly arrays.
function isList(events: SseEvent | readonly SseEvent[]): events is readonly SseEvent[] {
  return Array.isArray(events);
}
