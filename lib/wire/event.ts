/**
 * One event, in the shape of Nest's `MessageEvent`, with data of any kind.
 *
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
 */
export interface SseEvent {
  /**
   * What the client reads as `event.data`. A string goes out as it is, its line breaks (CRLF, CR, LF) arriving as LF;
   * any other value is JSON on one line. Without `data`, `comment` and `retry`, the client reads `null`.
   * Bytes, promises, streams and functions are refused: JSON would silently make `{}` of them, or worse.
   */
  data?: unknown;
  /**
   * The name that a client listens for with `addEventListener`. Absent or empty, it is `message`. No CR, no LF, no
   * NUL. A number is written as text.
   */
  type?: string;
  /**
   * What the client sends back as `Last-Event-ID` when it reconnects. Printable ASCII (U+0020 to U+007E), no space at
   * either end, at most 1,024 characters. A finite number, a BigInt, and an object with a `toString` of its own, such
   * as an ObjectId, are written as text. An empty id makes the client forget its last id.
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
 * A value that can be sent: an event, or data alone. Functions, symbols, bytes, promises and streams are refused when
 * the frame is made. BigInts and circular objects are refused, too: JSON cannot hold them.
 */
export type SseEventInput = SseEvent | object | string | number | boolean | null | undefined;

/**
 * Reads a value as an event.
 *
 * - A value that is no object is data, and so is an array.
 * - An object with `data`, its own or inherited (a getter of a class), is an event. Unknown fields are dropped;
 *   {@link unknownFields} names them.
 * - An object without `data` is an event only if it has a `comment` or a `retry` and no unknown field. Any other
 *   object, such as `{ message: 'hi' }` or `{ id: 5, name: 'x' }`, is data as a whole. As an event it would reach the
 *   client without its content.
 *
 * The value is not touched, and each of its fields is read once. Fields are not checked here: the encoder does that.
 * Absent and `null` are the same for every field but `data`.
 */
export function toEvent(value: unknown): SseEvent {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return { data: value };
  }
  if ('data' in value) {
    return readFields(value);
  }
  const event = readFields(value);
  const carriesNothing = event.comment === undefined && event.retry === undefined;
  return carriesNothing || hasUnknownField(value) ? { data: value } : event;
}

/**
 * Returns the unknown fields of an event, which are not sent; empty for a value that is data as a whole. The app is
 * warned of them, so that a misspelt `event:` or `name:` does not vanish in silence.
 */
export function unknownFields(value: unknown): string[] {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || !('data' in value)) {
    return [];
  }
  return Object.keys(value).filter((field) => !isEventField(field));
}

// Field by field. A spread would lose the getters of a class; writing into the value would give one client's id to all
// clients that are sent the same object.
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
