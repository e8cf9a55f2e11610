import { encodeEvent } from '../wire/index.js';
import type { SseEvent } from '../wire/index.js';

/** Why a stream ended before its source did, as its client may know it. */
export interface StreamFailure {
  /**
   * - `error`: the source failed.
   * - `expired`: `maxConnectionMs` or `expiresAt` has passed.
   * - `shutdown`: the app is closing.
   * - `shed`: there is no room for a further stream.
   * - `aborted`: the app ended the stream; only where the format has no `abort`.
   */
  readonly reason: 'error' | 'expired' | 'shutdown' | 'shed' | 'aborted';
  /**
   * What the client may read. Of an error it is `Internal server error`, unless that is an
   * `HttpException`, whose message is meant for the client.
   */
  readonly message: string;
  /** The status that the answer would have had, had the stream failed before it began; of an error, `shutdown` and `shed`. */
  readonly status?: number;
}

/**
 * What a format says at once: one event, several, or nothing. Each is an object with `data`, and a
 * `type` where the format's clients listen for names.
 */
export type FormatEvents = SseEvent | readonly SseEvent[] | undefined;

/**
 * The protocol of a stream: how its items, its failures and its end are told to a client that
 * speaks it. One that keeps state belongs to one stream: make it anew for each.
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
  /** Sent with the head of the stream. The content type, and what keeps proxies from buffering, is set in any case. */
  readonly headers?: Readonly<Record<string, string>>;
  /** One item of the source. A throw fails the stream, as if the source had thrown. */
  encode(item: T): FormatEvents;
  /**
   * The stream ends, and is not complete. Where it says nothing, the response is cut, so that its end
   * is no success.
   */
  error(failure: StreamFailure): FormatEvents;
  /** The source has come to its end. */
  done(): FormatEvents;
  /** The app has ended the stream before its source, on purpose. Where it is left out, `error` says so. */
  abort?(): FormatEvents;
}

/** The events of what a format says. */
export function eventsOf(events: FormatEvents): readonly SseEvent[] {
  if (events === undefined) {
    return [];
  }
  return isList(events) ? events : [events];
}

/** Encodes closing frames, however long: a refusal would hide what they tell. */
export function closingFramesOf(events: FormatEvents): string {
  return eventsOf(events)
    .map((event) => encodeEvent(event, { maxEventBytes: Infinity }))
    .join('');
}

// Array.isArray() alone takes no readonly array out of a union.
function isList(events: SseEvent | readonly SseEvent[]): events is readonly SseEvent[] {
  return Array.isArray(events);
}
