import { createHash } from 'node:crypto';
import { problemOf } from '../index.js';
import type { LogRecord, NewRecord } from '../../log/index.js';
import type { RecordCheck, RecordLimits } from '../index.js';
import { NO_NONCE } from '../../wire/index.js';
import { show } from '../../errors/index.js';
import { subjectOf, topicOf } from './subject.js';

/** A message of a stream. */
export interface StreamMessage {
  readonly subject: string;
  readonly sequence: number;
  /** When the server stored it, in milliseconds since 1970. */
  readonly time: number;
  readonly data: Uint8Array;
  /** Returns the value of a header; empty if it is absent. */
  header(name: string): string;
}

/** A message to publish. */
export interface Outgoing {
  readonly subject: string;
  readonly data: Uint8Array;
  readonly headers: readonly (readonly [name: string, value: string])[];
}

/** An event to append, with all fields but its sequence. */
export type Draft = Omit<LogRecord, 'sequence'>;

/** The header of our events: `<nonce> <time> <j|t>`, and the type if there is one. */
export const EVENT_HEADER = 'Sse-Event';

/** The header of a notice: the epoch of the log that it is about. */
export const NOTICE_HEADER = 'Sse-Notice';

export function draftOf({ topic, type, data, isJson }: NewRecord, nonce: string, time: number): Draft {
  const named = type === undefined ? {} : { type };
  // A lone surrogate does not survive UTF-8. The appender gets the text that all others will read.
  return { topic, ...named, data: data.isWellFormed() ? data : data.toWellFormed(), isJson, nonce, time };
}

/** Encodes an event as one message. Its subject and payload are topic and data, readable by other programs. */
export function messageOf(draft: Draft, base: string): Outgoing {
  return {
    subject: `${base}.${subjectOf(draft.topic)}`,
    data: Buffer.from(draft.data),
    headers: [[EVENT_HEADER, metaOf(draft)]],
  };
}

/** The checks of records that are read. */
export interface ReadingRules {
  readonly check: RecordCheck;
  readonly limits: RecordLimits;
}

/**
 * Reads the event of a message. If another program published it, or its header cannot be ours, the payload is text.
 *
 * @returns undefined if it cannot be an event of this log, as with too large a payload
 */
export function recordOf(
  message: StreamMessage,
  base: string,
  { check, limits }: ReadingRules,
): LogRecord | undefined {
  const { subject, sequence } = message;
  const [record, problem] = ownRecordOf(message, base, limits);
  if (record && problem === undefined) {
    return record;
  }
  const topic = topicOf(subject.slice(base.length + 1));
  const text = { topic, data: textOf(message.data), ...foreignMeta(message), sequence };
  return check.accept(text, limits, () => `message ${sequence} of the subject ${show(subject)}`);
}

/** Returns the nonce of a message's position, also if the message is no event. */
export function nonceOf(message: StreamMessage, base: string, { limits }: ReadingRules): string {
  const [record, problem] = ownRecordOf(message, base, limits);
  return record && problem === undefined ? record.nonce : foreignMeta(message).nonce;
}

/** Returns the nonce in a message's header, without its payload; undefined if the header is not ours. */
export function headerNonceOf(message: Pick<StreamMessage, 'header'>): string | undefined {
  return readMeta(message.header(EVENT_HEADER).split(' '))?.nonce;
}

/** Encodes events in one message, which is stored as a whole or not at all. */
export function bodyOf(drafts: readonly Draft[]): Uint8Array {
  const metas = drafts.map((draft) => {
    return `${Buffer.byteLength(draft.data)} ${encode(draft.topic)} ${metaOf(draft)}`;
  });
  return Buffer.from(`${metas.join(',')}\n${drafts.map(({ data }) => data).join('')}`);
}

/**
 * Reads the events of a message.
 *
 * @param last - the sequence of the last event
 * @returns undefined if one of them is not ours
 */
export function recordsOf(body: Uint8Array, last: number, rules: ReadingRules): LogRecord[] | undefined {
  if (body.length === 0) {
    return [];
  }
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  const end = bytes.indexOf(10);
  const lines = bytes.toString('latin1', 0, Math.max(0, end)).split(',');
  const records: LogRecord[] = [];
  let offset = end + 1;
  for (const [index, line] of lines.entries()) {
    const [length, topic = '', ...meta] = line.split(' ');
    const size = readNumber(length);
    if (size === undefined || offset + size > bytes.length) {
      return undefined;
    }
    const data = bytes.toString('utf8', offset, (offset += size));
    const sequence = last - lines.length + 1 + index;
    const record = rules.check.accept(
      { topic: decode(topic), data, ...readMeta(meta), sequence },
      rules.limits,
      () => `record ${sequence} of a named log`,
    );
    if (!record) {
      return undefined;
    }
    records.push(record);
  }
  return offset === bytes.length ? records : undefined;
}

/** Encodes a notice about a log. It has no position in the log. */
export function noticeMessageOf(draft: Draft, epoch: string): Omit<Outgoing, 'subject'> {
  return { data: bodyOf([draft]), headers: [[NOTICE_HEADER, epoch]] };
}

/** Reads a notice; undefined if it is about another log of the name, or is not ours. */
export function noticeOf(
  { data, header }: Pick<StreamMessage, 'data' | 'header'>,
  epoch: string,
  rules: ReadingRules,
): NewRecord | undefined {
  return header(NOTICE_HEADER) === epoch ? recordsOf(data, 1, rules)?.[0] : undefined;
}

function ownRecordOf(
  message: StreamMessage,
  base: string,
  limits: RecordLimits,
): [record: LogRecord | undefined, problem: string | undefined] {
  const meta = readMeta(message.header(EVENT_HEADER).split(' '));
  if (!meta) {
    return [undefined, undefined];
  }
  const topic = topicOf(message.subject.slice(base.length + 1));
  const record = { topic, data: textOf(message.data), ...meta, sequence: message.sequence };
  return [record, problemOf(record, limits)];
}

function metaOf({ nonce, time, isJson, type }: Draft): string {
  const meta = `${nonce} ${time} ${isJson ? 'j' : 't'}`;
  return type === undefined ? meta : `${meta} ${encode(type)}`;
}

type Meta = Pick<LogRecord, 'type' | 'isJson' | 'nonce' | 'time'>;

function readMeta([nonce, time, kind, type]: string[]): Meta | undefined {
  const at = readNumber(time);
  if (!nonce || !/^[0-9a-f]{8}$/.test(nonce) || at === undefined || (kind !== 'j' && kind !== 't')) {
    return undefined;
  }
  const named = type === undefined ? undefined : decode(type);
  return { ...(type === undefined ? {} : { type: named }), isJson: kind === 'j', nonce, time: at };
}

/** Derives a nonce from the payload, the same for all readers: another nonce would look like a rollback. */
function foreignMeta({ subject, data, time }: StreamMessage): Meta {
  const nonce = createHash('sha256').update(subject).update('\n').update(data).digest('hex').slice(0, 8);
  return { isJson: false, nonce: nonce === NO_NONCE ? '00000001' : nonce, time };
}

function encode(text: string): string {
  return encodeURIComponent(text.isWellFormed() ? text : text.toWellFormed());
}

/** Decodes a header; empty if another program has written it. */
function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    if (error instanceof URIError) {
      return '';
    }
    throw error;
  }
}

/** Reads a whole number in digits, as in our headers; undefined for any other text. */
export function readNumber(text: string | undefined): number | undefined {
  const value = text !== undefined && /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  return Number.isSafeInteger(value) ? value : undefined;
}

/** Reads a time to live or a limit: above 0, or `Infinity`. */
export function readAmount(text: string | undefined): number | undefined {
  const value = text !== undefined && /^(\d{1,16}(\.\d{1,20})?|Infinity)$/.test(text) ? Number(text) : 0;
  return value > 0 ? value : undefined;
}

function textOf(data: Uint8Array): string {
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString();
}
