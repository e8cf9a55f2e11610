/// <reference lib="es2024.string" />
import { toEvent } from './event.js';
import { fieldText } from './field-text.js';
import { MAX_ID_LENGTH, isId } from './id.js';
import { disarmPromises, toJson } from './json.js';
import { tooLarge, wrongContent, wrongKind } from './refusal.js';
import { show } from '../errors/index.js';

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

// A client that is told to stay away for longer is lost, and a timer of more than 24.8 days fires at once.
const MAX_EVENT_RETRY_MS = 24 * 60 * 60 * 1000;
const MAX_RETRY_MS = 2 ** 31 - 1;

/**
 * Encodes an event as a frame: its comment, `event`, `retry`, `data` and `id` lines, then the blank line that makes the
 * client dispatch it. Line ends are LF alone, since `@ag-ui/client` breaks on CRLF.
 *
 * The id stands last: several clients take it as soon as its line has come. Cut off within a frame, they would come back
 * with the id of an event that they never delivered.
 *
 * A frame that holds only a comment has no blank line, for the reason given at {@link HEARTBEAT}. One that holds only a
 * `retry` has: undici's EventSource applies it at the blank line and not before.
 *
 * Lone surrogates leave as U+FFFD, except inside JSON, where `JSON.stringify` escapes them and nothing is lost.
 *
 * @param value - An event, or data: see {@link toEvent}.
 * @param idRefusal - Why the event may have no id, for the message. Without one it may.
 * @throws SseError `event-invalid`, with the field, for what the format cannot express or no client would read
 * back as it was sent; `event-too-large` past `maxEventBytes`. `isContentFault()` tells whether data is to blame.
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
 */
export function encodeEvent(value: unknown, limits: FrameLimits, idRefusal?: string): string {
  const { data, type, id, retry, comment } = readEvent(value);
  if (id !== undefined && idRefusal !== undefined) throw wrongKind('id', idRefusal);
  let frame = '';
  if (comment !== undefined) frame += commentLines(comment, limits);
  if (type !== undefined) frame += typeLine(type);
  if (retry !== undefined) frame += retryLine(retry);
  // Without data there is still something to say where a comment or a retry is given; otherwise the event itself is
  // what was meant, and a frame without a data line would never be dispatched.
  if (data !== undefined) frame += dataLines(data, limits);
  else if (comment === undefined && retry === undefined) frame += 'data: null\n';
  if (id !== undefined) frame += idLine(id);

  const isCommentAlone =
    data === undefined && comment !== undefined && !type && id === undefined && retry === undefined;
  if (!isCommentAlone) frame += '\n';
  assertFits(frame, 'The event', limits);
  return frame;
}

/**
 * Takes an event apart as a log keeps it: its data as text, and whether that is JSON.
 *
 * @throws SseError `event-invalid`: also for an id, a `retry` or a comment, which belong to one connection and
 * not to a log. `event-too-large` where the frame would be larger than `maxEventBytes` with the longest id.
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

/** An event that a log holds. What it is made of was checked when it was published. */
interface EncodedRecord {
  type?: string;
  data: string;
  isJson: boolean;
}

/** The frame of an event of a topic. Its id stands last: see {@link encodeEvent}. */
export function encodeRecord({ type, data, isJson }: EncodedRecord, id: string): string {
  return `${eventLine(type)}${isJson ? `data: ${data}\n` : lines('data: ', data)}id: ${id}\n\n`;
}

/**
 * The frame of an event of a run. Its id stands first: clients of answers that read line by line, such as TanStack AI,
 * hand out the data as soon as its line has come, and must know the id by then.
 */
export function encodeRunRecord({ type, data, isJson }: EncodedRecord, id: string): string {
  return `id: ${id}\n${eventLine(type)}${isJson ? `data: ${data}\n` : lines('data: ', data)}\n`;
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
 * @throws SseError `event-invalid` for a text that is no string; `event-too-large` past `maxEventBytes`.
 */
export function encodeComment(text: string, limits: FrameLimits): string {
  const lines = commentLines(text, limits);
  assertFits(lines, 'The comment', limits, 'comment');
  return lines;
}

/**
 * Encodes a reconnection time as a line without a blank one, so that it joins the block of the next event.
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

// What the app's own getters and proxies throw comes from data.
function readEvent(value: unknown) {
  try {
    return toEvent(value);
  } catch (cause) {
    throw wrongContent('data', `An event could not be read: ${show(messageOf(cause))}.`, cause);
  }
}

/** The text of a field, or a refusal that says what the field takes. */
function textOf(field: 'type' | 'id' | 'comment', value: unknown, takes: string): string {
  let text: string | undefined;
  try {
    text = fieldText(value);
  } catch (cause) {
    throw wrongContent(field, `"${field}" has a toString() that throws: ${show(messageOf(cause))}.`, cause);
  }
  if (text !== undefined) return text;
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
  // An empty id is no mistake: it makes the client forget the last one.
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
  throw tooLarge(`${what} has ${bytes} bytes, and maxEventBytes is ${maxEventBytes}.`, field);
}
