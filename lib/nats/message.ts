import { createHash } from 'node:crypto';
import type { LogRecord, NewRecord } from '../log/index.js';
import { NO_NONCE } from '../wire/index.js';
import { subjectOf, topicOf } from './subject.js';

/** A message as a stream keeps it. */
export interface StreamMessage {
  readonly subject: string;
  readonly sequence: number;
  /** When the server took it, in milliseconds since 1970. */
  readonly time: number;
  readonly data: Uint8Array;
  /** The value of a header; empty where there is none. */
  header(name: string): string;
}

/** What is published, before a stream has given it a sequence. */
export interface Outgoing {
  readonly subject: string;
  readonly data: Uint8Array;
  readonly headers: readonly (readonly [name: string, value: string])[];
}

/** An event that is about to be appended, with all but its sequence. */
export type Draft = Omit<LogRecord, 'sequence'>;

/** The header that tells an event of ours: `<nonce> <time> <j|t>`, and the type where there is one. */
export const EVENT_HEADER = 'Sse-Event';

/** The header of a notice: the epoch of the log that it is about. */
export const NOTICE_HEADER = 'Sse-Notice';

export function draftOf({ topic, type, data, isJson }: NewRecord, nonce: string, time: number): Draft {
  const named = type === undefined ? {} : { type };
  // Half a surrogate pair does not survive UTF-8: it is shown to the appender as everyone else will read it.
  return { topic, ...named, data: data.isWellFormed() ? data : data.toWellFormed(), isJson, nonce, time };
}

/** An event as a message of its own: subject and payload are topic and data, for any reader of the stream. */
export function messageOf(draft: Draft, base: string): Outgoing {
  return {
    subject: `${base}.${subjectOf(draft.topic)}`,
    data: Buffer.from(draft.data),
    headers: [[EVENT_HEADER, metaOf(draft)]],
  };
}

/** The event of a message, also of one that another program has published. */
export function recordOf(message: StreamMessage, base: string): LogRecord {
  const topic = topicOf(message.subject.slice(base.length + 1));
  const data = textOf(message.data);
  const meta = readMeta(message.header(EVENT_HEADER).split(' '));
  return { topic, data, ...(meta ?? foreignMeta(message)), sequence: message.sequence };
}

/** Events in one message, which is stored as a whole or not at all. */
export function bodyOf(drafts: readonly Draft[]): Uint8Array {
  const metas = drafts.map((draft) => {
    return `${Buffer.byteLength(draft.data)} ${encode(draft.topic)} ${metaOf(draft)}`;
  });
  return Buffer.from(`${metas.join(',')}\n${drafts.map(({ data }) => data).join('')}`);
}

/** @param last the sequence of the last of them */
export function recordsOf(body: Uint8Array, last: number): LogRecord[] {
  if (body.length === 0) {
    return [];
  }
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  const end = bytes.indexOf(10);
  const lines = bytes.toString('latin1', 0, end).split(',');
  const first = last - lines.length + 1;
  let offset = end + 1;
  return lines.map((line, index) => {
    const [length, topic, ...meta] = line.split(' ');
    const data = bytes.toString('utf8', offset, (offset += Number(length)));
    return { topic: decodeURIComponent(topic!), data, ...readMeta(meta)!, sequence: first + index };
  });
}

/** A notice about a log, which has no place in it. */
export function noticeMessageOf(draft: Draft, epoch: string): Omit<Outgoing, 'subject'> {
  return { data: bodyOf([draft]), headers: [[NOTICE_HEADER, epoch]] };
}

/** @returns undefined for one about another log of the name, or that is none of ours */
export function noticeOf(
  { data, header }: Pick<StreamMessage, 'data' | 'header'>,
  epoch: string,
): NewRecord | undefined {
  return header(NOTICE_HEADER) === epoch ? recordsOf(data, 1)[0] : undefined;
}

function metaOf({ nonce, time, isJson, type }: Draft): string {
  const meta = `${nonce} ${time} ${isJson ? 'j' : 't'}`;
  return type === undefined ? meta : `${meta} ${encode(type)}`;
}

type Meta = Pick<LogRecord, 'type' | 'isJson' | 'nonce' | 'time'>;

function readMeta([nonce, time, kind, type]: string[]): Meta | undefined {
  if (kind === undefined || !/^[0-9a-f]{8}$/.test(nonce!)) {
    return undefined;
  }
  const named = type === undefined ? {} : { type: decode(type) };
  return { ...named, isJson: kind === 'j', nonce: nonce!, time: Number(time) };
}

/** The same for everyone who reads the message: a nonce that differed would look like a log that was rolled back. */
function foreignMeta({ subject, data, time }: StreamMessage): Meta {
  const nonce = createHash('sha256').update(subject).update('\n').update(data).digest('hex').slice(0, 8);
  return { isJson: false, nonce: nonce === NO_NONCE ? '00000001' : nonce, time };
}

function encode(text: string): string {
  return encodeURIComponent(text.isWellFormed() ? text : text.toWellFormed());
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    // Another program's header: whatever it says, the log must stay readable.
    if (error instanceof URIError) return text;
    throw error;
  }
}

function textOf(data: Uint8Array): string {
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString();
}
