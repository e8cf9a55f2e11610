/// <reference lib="es2024.string" />
import { SseError } from '../sse.errors.js';
import { toEvent } from './event.js';
import { MAX_ID_LENGTH, isId } from './id.js';
import { show } from './show.js';

/** What a frame may weigh. */
export interface FrameLimits {
  /** The longest frame allowed, in UTF-8 bytes, field names and line ends included. */
  maxEventBytes: number;
}

/**
 * An empty comment, sent when a stream has been silent for long. It has no blank line after it:
 * `@microsoft/fetch-event-source` would fire an empty message for a block without data.
 */
export const HEARTBEAT = ':\n';

/**
 * Encodes an event as a frame: its comment, `event`, `id`, `retry` and `data` lines, then the blank line that makes the
 * client dispatch it. Line ends are LF alone, since `@ag-ui/client` breaks on CRLF.
 *
 * A frame that holds only a comment has no blank line, for the reason given at {@link HEARTBEAT}. One that holds only a
 * `retry` has: undici's EventSource applies it at the blank line and not before.
 *
 * Lone surrogates leave as U+FFFD, except inside JSON, where `JSON.stringify` escapes them and nothing is lost.
 *
 * @param value - An event, or data: see {@link toEvent}.
 * @throws {@link SseError} `event-invalid`, with the field, for what the format cannot express or no client would read
 * back as it was sent; `event-too-large` past `maxEventBytes`.
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
 */
export function encodeEvent(value: unknown, limits: FrameLimits): string {
  const { data, type, id, retry, comment } = toEvent(value);
  let frame = '';
  if (comment !== undefined) frame += commentLines(comment, limits);
  if (type !== undefined) frame += typeLine(type);
  if (id !== undefined) frame += idLine(id);
  if (retry !== undefined) frame += encodeRetry(retry);
  // Without data there is still something to say where a comment or a retry is given; otherwise the event itself is
  // what was meant, and a frame without a data line would never be dispatched.
  if (data !== undefined) frame += dataLines(data, limits);
  else if (comment === undefined && retry === undefined) frame += 'data: null\n';

  const isCommentAlone =
    data === undefined && comment !== undefined && !type && id === undefined && retry === undefined;
  if (!isCommentAlone) frame += '\n';
  assertFits(frame, 'The event', limits);
  return frame;
}

/**
 * Takes an event apart as a log keeps it: its data as text, and whether that is JSON.
 *
 * @throws {@link SseError} `event-invalid`: also for an id, a `retry` or a comment, which belong to one connection and
 * not to a log. `event-too-large` where the frame would be larger than `maxEventBytes` with the longest id.
 */
export function encodePayload(
  value: unknown,
  limits: FrameLimits,
): { type?: string; data: string; isJson: boolean } {
  const { data, type, id, retry, comment } = toEvent(value);
  const refusedField =
    id !== undefined ? 'id' : retry !== undefined ? 'retry' : comment !== undefined ? 'comment' : '';
  if (refusedField) {
    throw refused(
      refusedField,
      `"${refusedField}" cannot be published: it is one connection's matter. An event that is published has data and a type; its id is its position in the log.`,
    );
  }
  const name = type === undefined ? '' : typeLine(type);
  const isJson = typeof data !== 'string';
  const text = isJson ? toJson(data ?? null) : data.toWellFormed();
  const frame = isJson ? `data: ${text}\n` : lines('data: ', text);
  assertFits(`${name}id: ${LONGEST_POSITION}\n${frame}\n`, 'The event', limits);
  return { ...(name ? { type } : {}), data: text, isJson };
}

/** The frame of an event that a log holds. What it is made of was checked when it was published. */
export function encodeRecord(
  { type, data, isJson }: { type?: string; data: string; isJson: boolean },
  id: string,
): string {
  return `${type ? `event: ${type}\n` : ''}id: ${id}\n${isJson ? `data: ${data}\n` : lines('data: ', data)}\n`;
}

/**
 * The bytes of an event's frame, as {@link encodePayload} counts them: with the longest id.
 *
 * @param enough - A count from which on the exact one does not matter: short events are not counted.
 * @returns The bytes, or 0 for an event that is certainly shorter than `enough`.
 */
export function recordBytes(
  { type, data, isJson }: { type?: string; data: string; isJson: boolean },
  enough: number,
): number {
  // A text of line breaks alone has seven bytes for each of them: `\ndata: `.
  if (data.length * 7 + (type?.length ?? 0) * 3 + 100 <= enough) return 0;
  return Buffer.byteLength(encodeRecord({ type, data, isJson }, LONGEST_POSITION));
}

// An epoch of 32 characters, a sequence of 16 digits, a nonce of 8.
const LONGEST_POSITION = '0'.repeat(58);

/**
 * Encodes a comment, one line for each of the text's, without a blank line: see {@link HEARTBEAT}.
 *
 * @throws {@link SseError} `event-invalid` for a text that is no string; `event-too-large` past `maxEventBytes`.
 */
export function encodeComment(text: string, limits: FrameLimits): string {
  const lines = commentLines(text, limits);
  assertFits(lines, 'The comment', limits, 'comment');
  return lines;
}

/**
 * Encodes a reconnection time as a line without a blank one, so that it joins the block of the next event.
 *
 * @param ms - Whole milliseconds, 0 or more.
 * @throws {@link SseError} `event-invalid`.
 */
export function encodeRetry(ms: number): string {
  if (!Number.isSafeInteger(ms) || ms < 0) {
    throw refused('retry', `"retry" is a number of milliseconds, whole and not negative; got ${show(ms)}.`);
  }
  return `retry: ${ms}\n`;
}

function commentLines(text: unknown, limits: FrameLimits): string {
  if (typeof text !== 'string') throw refused('comment', `"comment" is a string; got ${show(text)}.`);
  assertFits(text, 'The comment alone', limits, 'comment');
  return lines(': ', text);
}

function typeLine(type: unknown): string {
  if (typeof type !== 'string')
    throw refused('type', `"type" is a string, the event's name; got ${show(type)}.`);
  if (type === '') return '';
  if (hasLineBreak(type)) {
    throw refused('type', `"type" contains a line break, which would end the field; got ${show(type)}.`);
  }
  return `event: ${type.toWellFormed()}\n`;
}

function idLine(id: unknown): string {
  if (typeof id === 'number' && Number.isFinite(id)) return `id: ${id}\n`;
  if (typeof id !== 'string') {
    throw refused('id', `"id" is a string or a finite number; got ${show(id)}. Did you mean String(id)?`);
  }
  // An empty id is no mistake: it makes the client forget the last one.
  if (id !== '' && !isId(id)) {
    throw refused(
      'id',
      `"id" is printable ASCII (U+0020 to U+007E) without a space at either end, ${MAX_ID_LENGTH} characters at most: ` +
        `a client returns it in the Last-Event-ID header, and nothing else survives that. Got ${show(id)}.`,
    );
  }
  return `id: ${id}\n`;
}

function dataLines(data: unknown, limits: FrameLimits): string {
  if (typeof data === 'string') {
    assertFits(data, 'The data alone', limits, 'data');
    return lines('data: ', data);
  }
  // JSON escapes every line break, so this is one line.
  return `data: ${toJson(data)}\n`;
}

function toJson(data: unknown): string {
  let json: string | undefined;
  try {
    json = JSON.stringify(data);
  } catch (cause) {
    // V8 draws the circle on further lines.
    const reason = cause instanceof Error ? cause.message.split('\n', 1)[0] : cause;
    throw new SseError('event-invalid', `"data" cannot be written as JSON: ${show(reason)}.`, {
      cause,
      field: 'data',
    });
  }
  if (json === undefined) {
    throw refused('data', `"data" has no JSON: got ${show(data)}. Functions and symbols cannot be sent.`);
  }
  return json;
}

/** One line with the prefix for each line of the text; CRLF, CR and LF each end one. */
function lines(prefix: string, text: string): string {
  const wellFormed = text.toWellFormed();
  if (!hasLineBreak(wellFormed)) return `${prefix}${wellFormed}\n`;
  return `${prefix}${wellFormed.replace(/\r\n|\r|\n/g, `\n${prefix}`)}\n`;
}

// Two searches for one character: several times as fast as a regular expression on the long strings without a break
// that most events are.
function hasLineBreak(text: string): boolean {
  return text.includes('\n') || text.includes('\r');
}

function assertFits(text: string, what: string, { maxEventBytes }: FrameLimits, field?: string): void {
  // A UTF-16 code unit is three bytes of UTF-8 at most: short texts, which is nearly all, need no counting.
  if (text.length * 3 <= maxEventBytes) return;
  const bytes = Buffer.byteLength(text);
  if (bytes <= maxEventBytes) return;
  throw new SseError(
    'event-too-large',
    `${what} has ${bytes} bytes, and maxEventBytes is ${maxEventBytes}.`,
    { field },
  );
}

function refused(field: string, message: string): SseError {
  return new SseError('event-invalid', message, { field });
}
