import type { LogHead, NewRecord } from '../../log/index.js';
import type { LogEntry } from '../index.js';

/** The head and entries of a log. */
export interface RedisPage {
  readonly head: LogHead;
  /** The lowest sequence that the log holds; one past the head if it holds none. */
  readonly first: number;
  readonly entries: readonly LogEntry[];
  /** Of a named log. */
  readonly maxEvents: number;
  readonly ttlMs: number;
  /** The former epochs, as text. */
  readonly former: string;
}

/** An entry in the reply of the verify script. */
export type SeenEntry = Pick<LogEntry, 'sequence' | 'nonce' | 'previous'>;

/** A head, and the entries at a place and after it. */
export interface RedisPlace {
  /** Undefined if there is no log. */
  readonly head: LogHead | undefined;
  readonly former: string;
  /** `broken` if an entry past the head continues the log's own line, `cleared` if entries were deleted, or empty. */
  readonly past: string;
  /** At most two, none past the head. */
  readonly next: readonly SeenEntry[];
}

/** Makes the arguments for a record of the append script. */
export function argumentsOf({ topic, type, data, isJson }: NewRecord, nonce: string): string[] {
  return [String(Number.parseInt(nonce, 16)), topic, type ?? '', data, isJson ? '1' : '0'];
}

export function headOf(epoch: string, sequence: string, nonce: string): LogHead {
  return { epoch, sequence: Number(sequence), nonce: hex(nonce) };
}

/** Reads the reply of the page script; undefined if there is no such named log. */
export function pageOf(reply: unknown, isNamed: boolean): RedisPage | undefined {
  const [epoch, sequence, nonce, first, entries, maxEvents, ttlMs, former] = reply as RawPage;
  if (epoch === undefined || (isNamed && !(isCount(maxEvents) && isCount(ttlMs)))) {
    return undefined;
  }
  const head = headOf(epoch, sequence, nonce);
  return {
    head,
    first: first === '' ? head.sequence + 1 : placeOf(first).sequence,
    entries: entries.map((entry) => entryOf(entry)),
    maxEvents: Number(maxEvents),
    ttlMs: Number(ttlMs),
    former,
  };
}

/** Reads the reply of the verify script. */
export function placesOf(reply: unknown): RedisPlace[] {
  return (reply as string[][]).map(([epoch, sequence, nonce, former, past, ...entries]) => ({
    head: epoch === '' ? undefined : headOf(epoch!, sequence!, nonce!),
    former: former!,
    past: past!,
    next: [entries.slice(0, 2), entries.slice(2)]
      .filter(([id]) => id !== undefined)
      .map(([id, previous]) => ({ ...placeOf(id!), previous: hex(previous!) })),
  }));
}

/** Reads the reply of `XREAD`, by the key of each stream. */
export function streamsOf(reply: unknown): [key: string, entries: LogEntry[]][] {
  // A client with RESP3 returns a map.
  const streams = Array.isArray(reply) ? reply : Object.entries(reply ?? {});
  return (streams as [string, RawEntry[]][]).map(([key, entries]) => [
    key,
    entries.map((entry) => entryOf(entry)),
  ]);
}

/** Makes the id of an entry in Redis. */
export function entryId({ sequence, nonce }: { sequence: number; nonce: string }): string {
  return `${sequence}-${Number.parseInt(nonce, 16)}`;
}

type RawPage = [
  epoch: string,
  sequence: string,
  nonce: string,
  first: string,
  entries: RawEntry[],
  maxEvents: string,
  ttlMs: string,
  former: string,
];
type RawEntry = [id: string, fields: string[]];

/** The fields that the append script writes, in order. Entries with other fields are no records. */
const FIELDS = ['c', 'p', 't', 'y', 'd', 'j'];
const FLAGS: Record<string, boolean> = { 0: false, 1: true };

function entryOf([id, all]: RawEntry): LogEntry {
  const { sequence, nonce } = placeOf(id);
  const isOurs = all.length === 2 * FIELDS.length && FIELDS.every((name, n) => all[2 * n] === name);
  const fields = isOurs ? all : [];
  const type = fields[7];
  const rest = { data: fields[9], isJson: FLAGS[fields[11] ?? ''], time: Number(fields[1]) };
  return {
    id,
    sequence,
    nonce,
    previous: hex(fields[3] ?? ''),
    bytes: all.reduce((sum, field) => sum + field.length, 0),
    unchecked: type
      ? { sequence, nonce, topic: fields[5], type, ...rest }
      : { sequence, nonce, topic: fields[5], ...rest },
  };
}

function placeOf(id: string): { sequence: number; nonce: string } {
  const [sequence, nonce] = id.split('-') as [string, string];
  return { sequence: Number(sequence), nonce: hex(nonce) };
}

/** Reads a nonce; undefined if it is no number of 32 bits. */
function hex(decimal: string): string {
  const number = /^\d{1,10}$/.test(decimal) ? Number(decimal) : Infinity;
  return number <= 0xff_ff_ff_ff ? hex16(number >>> 16) + hex16(number & 0xff_ff) : '';
}

/** Formats a nonce in two halves: for a number past 31 bits, V8 takes ten times as long. */
function hex16(number: number): string {
  return HEX_BYTES[number >>> 8]! + HEX_BYTES[number & 0xff]!;
}

const HEX_BYTES = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

function isCount(text: string): boolean {
  return /^[1-9]\d{0,14}$/.test(text);
}
