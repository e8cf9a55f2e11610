/// <reference lib="es2024.string" />
import { toEvent } from './event.js';
import { fieldText } from './field-text.js';
import { MAX_ID_LENGTH, isId } from './id.js';
import { disarmPromises, toJson } from './json.js';
import { tooLarge, wrongContent, wrongKind } from './refusal.js';
import { show } from '../errors/index.js';

/** The bound of a frame. */
export interface FrameLimits {
  /** The longest frame, in UTF-8 bytes, with field names and line ends. */
  maxEventBytes: number;
}

/**
 * An empty comment, sent when a stream has been silent. No blank line follows it: `@microsoft/fetch-event-source` fires
 * an empty message for a block without data.
 */
export const HEARTBEAT = ':\n';

// With a longer time the client is lost, and a timer of more than 24.8 days fires at once.
const MAX_EVENT_RETRY_MS = 24 * 60 * 60 * 1000;
const MAX_RETRY_MS = 2 ** 31 - 1;

/**
 * Encodes an event as a frame: its comment, `event`, `retry`, `data` and `id` lines, then the blank line that makes the
 * client dispatch it. Line ends are LF alone, since `@ag-ui/client` breaks on CRLF.
 *
 * The id stands last. Several clients take an id as soon as its line has come: if the connection is cut within the
 * frame, they would come back with the id of an event that they have not delivered.
 *
 * A frame with only a comment has no blank line: see {@link HEARTBEAT}. A frame with only a `retry` has one: undici's
 * EventSource applies the time at the blank line.
 *
 * Lone surrogates become U+FFFD, except in JSON, where `JSON.stringify` escapes them.
 *
 * @param value - An event, or data: see {@link toEvent}.
 * @param idRefusal - Why the event may have no id, for the message. Without one it may.
 * @throws SseError `event-invalid`, with the field, if the format cannot express the event, or a client would read
 * another one; `event-too-large` past `maxEventBytes`. `isContentFault()` tells whether data is to blame.
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
 */
export function encodeEvent(value: unknown, limits: FrameLimits, idRefusal?: string): string {
  const { data, type, id, retry, comment } = readEvent(value);
  if (id !== undefined && idRefusal !== undefined) {
    throw wrongKind('id', idRefusal);
  }
  let frame = '';
  if (comment !== undefined) {
    frame += commentLines(comment, limits);
  }
  if (type !== undefined) {
    frame += typeLine(type);
  }
  if (retry !== undefined) {
    frame += retryLine(retry);
  }
  // Without data, a comment or a retry is still sent. Otherwise the event itself is meant: a frame without a data line
  // is never dispatched.
  if (data !== undefined) {
    frame += dataLines(data, limits);
  } else if (comment === undefined && retry === undefined) {
    frame += 'data: null\n';
  }
  if (id !== undefined) {
    frame += idLine(id);
  }

  const isCommentAlone =
    data === undefined && comment !== undefined && !type && id === undefined && retry === undefined;
  if (!isCommentAlone) {
    frame += '\n';
  }
  assertFits(frame, 'The event', limits);
  return frame;
}

/**
 * Encodes an event as a log keeps it: its data as text, and whether that is JSON.
 *
 * @throws SseError `event-invalid`: also for an id, a `retry` or a comment, which belong to one connection and
 * not to a log. `event-too-large` if the frame would be larger than `maxEventBytes` with the longest id.
 */
export function encodePayload(
  value: unknown,
  limits: FrameLimits,
): { type?: string; data: string; isJson: boolean } {
  const { data, type, id, retry, comment } = readEvent(value);
  const refusedField =
    id !== undefined ? 'id' : retry !== undefined ? 'retry' : comment !== undefined ? 'comment' : '';
  if (refusedField) {
    throw wrongKind(
      refusedField,
      `"${refusedField}" cannot be published: it is one connection's matter. An event that is published has data and a type; its id is its position in the log.`,
    );
  }
  const name = type === undefined ? '' : typeText(type);
  const isJson = typeof data !== 'string';
  const text = isJson ? toJson(data ?? null) : data.toWellFormed();
  const frame = `${eventLine(name)}${isJson ? `data: ${text}\n` : lines('data: ', text)}`;
  assertFits(`${frame}id: ${LONGEST_POSITION}\n\n`, 'The event', limits);
  return { ...(name ? { type: name } : {}), data: text, isJson };
}

/** An event of a log. Its fields were checked when it was published. */
interface EncodedRecord {
  type?: string;
  data: string;
  isJson: boolean;
}

/** Encodes an event of a topic as a frame. Its id stands last: see {@link encodeEvent}. */
export function encodeRecord({ type, data, isJson }: EncodedRecord, id: string): string {
  return `${eventLine(type)}${isJson ? `data: ${data}\n` : lines('data: ', data)}id: ${id}\n\n`;
}

/**
 * Encodes an event of a run as a frame. Its id stands first. Clients that read line by line, such as TanStack AI,
 * deliver the data as soon as they have read its line: they must know the id by then.
 */
export function encodeRunRecord({ type, data, isJson }: EncodedRecord, id: string): string {
  return `id: ${id}\n${eventLine(type)}${isJson ? `data: ${data}\n` : lines('data: ', data)}\n`;
}

/**
 * Counts the bytes of an event's frame as {@link encodePayload} does: with the longest id.
 *
 * @param enough - From this count on the exact one matters. Short events are not counted.
 * @returns The bytes, or 0 for an event that is certainly shorter than `enough`.
 */
export function recordBytes(
  { type, data, isJson }: { type?: string; data: string; isJson: boolean },
  enough: number,
): number {
  // A text of line breaks alone takes seven bytes for each: `\ndata: `.
  if (data.length * 7 + (type?.length ?? 0) * 3 + 100 <= enough) {
    return 0;
  }
  return Buffer.byteLength(encodeRecord({ type, data, isJson }, LONGEST_POSITION));
}

// An epoch of 32 characters, a sequence of 16 digits, a nonce of 8.
const LONGEST_POSITION = '0'.repeat(58);

/**
 * Encodes a comment, one line for each line of the text, without a blank line: see {@link HEARTBEAT}.
 *
 * @throws SseError `event-invalid` if the text is no string; `event-too-large` past `maxEventBytes`.
 */
export function encodeComment(text: string, limits: FrameLimits): string {
  const lines = commentLines(text, limits);
  assertFits(lines, 'The comment', limits, 'comment');
  return lines;
}

/**
 * Encodes a reconnection time as a line without a blank line, so that it joins the block of the next event.
 *
 * @param ms - Whole milliseconds, from 0 to 2,147,483,647.
 * @throws SseError `event-invalid`.
 */
export function encodeRetry(ms: number): string {
  if (!Number.isInteger(ms) || ms < 0 || ms > MAX_RETRY_MS) {
    throw wrongKind(
      'retry',
      `"retry" is a number of milliseconds, whole and not negative, ${MAX_RETRY_MS} at most; got ${show(ms)}.`,
    );
  }
  return `retry: ${ms}\n`;
}

// An error of the app's getters and proxies comes from its data.
function readEvent(value: unknown) {
  try {
    return toEvent(value);
  } catch (cause) {
    throw wrongContent('data', `An event could not be read: ${show(messageOf(cause))}.`, cause);
  }
}

/** Returns a field as text. Refuses any other value, and says what the field takes. */
function textOf(field: 'type' | 'id' | 'comment', value: unknown, takes: string): string {
  let text: string | undefined;
  try {
    text = fieldText(value);
  } catch (cause) {
    throw wrongContent(field, `"${field}" has a toString() that throws: ${show(messageOf(cause))}.`, cause);
  }
  if (text !== undefined) {
    return text;
  }
  disarmPromises(value);
  throw wrongKind(field, `"${field}" is ${takes}; got ${show(value)}. Did you mean another field of it?`);
}

function messageOf(error: unknown): unknown {
  return error instanceof Error ? error.message.split('\n', 1)[0] : error;
}

function commentLines(value: unknown, limits: FrameLimits): string {
  const text = textOf('comment', value, 'a string');
  assertFits(text, 'The comment alone', limits, 'comment');
  return lines(': ', text);
}

function typeLine(type: unknown): string {
  return eventLine(typeText(type));
}

function eventLine(type: string | undefined): string {
  return type ? `event: ${type}\n` : '';
}

function typeText(value: unknown): string {
  const type = textOf('type', value, "a string, the event's name");
  if (hasLineBreak(type) || type.includes('\0')) {
    throw wrongContent(
      'type',
      `"type" contains a line break or a NUL, which no name that a client listens for has; got ${show(type)}.`,
    );
  }
  return type.toWellFormed();
}

function idLine(value: unknown): string {
  const id = textOf('id', value, 'a string, a finite number, or an object with a text of its own');
  const isNoNumber = typeof value === 'number' && !Number.isFinite(value);
  // An empty id is valid: it makes the client forget its last id.
  if (isNoNumber || (id !== '' && !isId(id))) {
    throw wrongContent(
      'id',
      `"id" is printable ASCII (U+0020 to U+007E) without a space at either end, ${MAX_ID_LENGTH} characters at most, ` +
        `or a finite number: a client returns it in the Last-Event-ID header, and nothing else survives that. Got ${show(value)}.`,
    );
  }
  return `id: ${id}\n`;
}

function retryLine(value: unknown): string {
  const isText = typeof value === 'string' && /^[0-9]{1,10}$/.test(value);
  const ms = isText || typeof value === 'bigint' ? Number(value) : value;
  if (typeof ms !== 'number' && typeof ms !== 'string') {
    disarmPromises(value);
    throw wrongKind('retry', `"retry" is a number of milliseconds; got ${show(value)}.`);
  }
  if (!Number.isInteger(ms) || (ms as number) < 0 || (ms as number) > MAX_EVENT_RETRY_MS) {
    throw wrongContent(
      'retry',
      `"retry" is a number of milliseconds, whole and not negative, a day (${MAX_EVENT_RETRY_MS}) at most; got ${show(value)}.`,
    );
  }
  return `retry: ${ms}\n`;
}

function dataLines(data: unknown, limits: FrameLimits): string {
  if (typeof data === 'string') {
    assertFits(data, 'The data alone', limits, 'data');
    return lines('data: ', data);
  }
  return `data: ${toJson(data)}\n`;
}

/** Writes a line with the prefix for each line of the text. CRLF, CR and LF each end a line. */
function lines(prefix: string, text: string): string {
  const wellFormed = text.toWellFormed();
  if (!hasLineBreak(wellFormed)) {
    return `${prefix}${wellFormed}\n`;
  }
  return `${prefix}${wellFormed.replace(/\r\n|\r|\n/g, `\n${prefix}`)}\n`;
}

// Most events are long strings without a line break. There, two searches for one character are several times as fast
// as a regular expression.
function hasLineBreak(text: string): boolean {
  return text.includes('\n') || text.includes('\r');
}

function assertFits(text: string, what: string, { maxEventBytes }: FrameLimits, field?: string): void {
  // A UTF-16 code unit takes at most three bytes of UTF-8. Nearly all texts are short and need no counting.
  if (text.length * 3 <= maxEventBytes) {
    return;
  }
  const bytes = Buffer.byteLength(text);
  if (bytes <= maxEventBytes) {
    return;
  }
  throw tooLarge(`${what} has ${bytes} bytes, and maxEventBytes is ${maxEventBytes}.`, field);
}
