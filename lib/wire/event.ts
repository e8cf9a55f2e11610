/**
 * One event, in the shape of Nest's `MessageEvent`, with data of any kind.
 *
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
 */
export interface SseEvent {
  /**
   * What the client reads as `event.data`. A string goes out as it is, its line breaks (CRLF, CR, LF) arriving as LF;
   * anything else as JSON on one line. If there is no `data`, no `comment` and no `retry`, the client reads `null`.
   * Bytes, promises, streams and functions are refused: JSON would make `{}` of them, or worse, without a word.
   */
  data?: unknown;
  /**
   * The name that a client listens for with `addEventListener`; without one, or empty, it is `message`. No CR, no LF, no
   * NUL. A number is written as text.
   */
  type?: string;
  /**
   * What the client sends back as `Last-Event-ID` when it reconnects. Printable ASCII (U+0020 to U+007E), no space at
   * either end, at most 1,024 characters. A finite number, a BigInt, and an object with a `toString` of its own, such as
   * an ObjectId, are written as text. An empty one makes the client forget the last.
   */
  id?: string | number | bigint;
  /**
   * How long the client waits before it reconnects from now on, in whole milliseconds, from 0 to a day (86,400,000). A
   * text of digits counts as well.
   */
  retry?: number;
  /** Lines that clients skip; they show up in captures. CRLF, CR and LF each begin a new one. */
  comment?: string;
}

/**
 * Whatever can be sent: an event, or data alone. Functions, symbols, bytes, promises and streams are refused when the
 * frame is made. So are BigInts and circular objects, which JSON cannot hold.
 */
export type SseEventInput = SseEvent | object | string | number | boolean | null | undefined;

/**
 * Reads a value as an event.
 *
 * - A value that is no object is data, and so is an array.
 * - An object with `data`, its own or inherited (a getter of a class), is an event. Other fields are dropped:
 *   {@link unknownFields} names them.
 * - An object without `data` is an event only where it has a `comment` or a `retry`, and nothing beyond the fields of
 *   an event. Any other, such as `{ message: 'hi' }` or `{ id: 5, name: 'x' }`, is data as a whole: read as an event
 *   it would reach the client without its content.
 *
 * The value is not touched, and each of its fields is read once. Fields are not checked here: the encoder does that.
 * Absent and `null` are the same for every field but `data`.
 */
export function toEvent(value: unknown): SseEvent {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return { data: value };
  if ('data' in value) return readFields(value);
  const event = readFields(value);
  const carriesNothing = event.comment === undefined && event.retry === undefined;
  return carriesNothing || hasUnknownField(value) ? { data: value } : event;
}

/**
 * The fields of an event that will not be sent, because an event has no such field: empty for a value that is sent as a
 * whole. For a warning, so that a misspelt `event:` or `name:` does not vanish in silence.
 */
export function unknownFields(value: unknown): string[] {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || !('data' in value)) return [];
  return Object.keys(value).filter((field) => !isEventField(field));
}

// Field by field: a spread would lose the getters of an event that is a class, and writing into the value would give
// one client's id to every other that is sent the same object.
function readFields(value: object): SseEvent {
  const event = value as SseEvent;
  return {
    data: event.data,
    type: event.type ?? undefined,
    id: event.id ?? undefined,
    retry: event.retry ?? undefined,
    comment: event.comment ?? undefined,
  };
}

function hasUnknownField(value: object): boolean {
  return Object.keys(value).some((field) => !isEventField(field));
}

function isEventField(field: string): boolean {
  return field === 'data' || field === 'type' || field === 'id' || field === 'retry' || field === 'comment';
}
