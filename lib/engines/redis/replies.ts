import type { LogHead, LogRecord, NewRecord } from '../../log/index.js';
import type { RecordCheck, UncheckedRecord } from '../index.js';

/** An entry of the stream: what is to be a record, and the nonce of the one before it. Nothing of it is checked. */
export interface RedisEntry {
  readonly id: string;
  readonly sequence: number;
  readonly nonce: string;
  readonly previous: string;
  readonly unchecked: UncheckedRecord;
  /** About what it takes in a reply. */
  readonly bytes: number;
}

/** How entries of one log are checked. */
export interface EntryRules {
  readonly check: RecordCheck;
  readonly maxEventBytes: number;
  /** The key of the stream, for people. */
  readonly key: string;
}

/** The head, and entries of the log. */
export interface RedisPage {
  readonly head: LogHead;
  /** The lowest sequence that the log holds; one past the head where it holds none. */
  readonly first: number;
  readonly entries: readonly RedisEntry[];
  /** Of a named log. */
  readonly maxEvents: number;
  readonly ttlMs: number;
  /** The former epochs, as text. */
  readonly former: string;
}

/** What the verify script tells of an entry. */
export type SeenEntry = Pick<RedisEntry, 'sequence' | 'nonce' | 'previous'>;

/** A head, and what stands at a place and after it. */
export interface RedisPlace {
  /** Undefined where there is no log. */
  readonly head: LogHead | undefined;
  readonly former: string;
  /** What stood past the head: `broken` if it follows in the log's own line, another word if it was cleared. */
  readonly past: string;
  /** Two at most, none of them past the head. */
  readonly next: readonly SeenEntry[];
}

/** The arguments for a record in the append script. */
export function argumentsOf({ topic, type, data, isJson }: NewRecord, nonce: string): string[] {
  return [String(Number.parseInt(nonce, 16)), topic, type ?? '', data, isJson ? '1' : '0'];
}

export function headOf(epoch: string, sequence: string, nonce: string): LogHead {
  return { epoch, sequence: Number(sequence), nonce: hex(nonce) };
}

/** @param reply - of the page script; undefined of a named log that is no more, or is none */
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

/** @param reply - of the verify script */
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

/** What `XREAD` answers, by the key of each stream. */
export function streamsOf(reply: unknown): [key: string, entries: RedisEntry[]][] {
  // A client that insists on RESP3 gives a map.
  const streams = Array.isArray(reply) ? reply : Object.entries(reply ?? {});
  return (streams as [string, RawEntry[]][]).map(([key, entries]) => [
    key,
    entries.map((entry) => entryOf(entry)),
  ]);
}

/** Whether an entry is the next of the same line. */
export function follows(entry: SeenEntry, { sequence, nonce }: Pick<LogHead, 'sequence' | 'nonce'>): boolean {
  return entry.sequence === sequence + 1 && entry.previous === nonce;
}

/** @returns the record of an entry, or undefined if it cannot be one, which is logged */
export function recordOf(
  entry: RedisEntry,
  { check, maxEventBytes, key }: EntryRules,
): LogRecord | undefined {
  return check.accept(entry.unchecked, { maxEventBytes }, () => `entry ${entry.id} of ${key}`);
}

/**
 * The records of a page, in order and without a gap, as far as each follows the one before it. What cannot be a record
 * is as good as absent.
 *
 * @returns the records, and the lowest sequence that the log holds as far as this page goes
 */
export function recordsOf(
  { entries, first, head }: RedisPage,
  from: number,
  rules: EntryRules,
): { records: LogRecord[]; first: number } {
  const records: LogRecord[] = [];
  let begins = first;
  for (const entry of entries) {
    const last = records.at(-1);
    if (last && !follows(entry, last)) {
      break;
    }
    const record = recordOf(entry, rules);
    if (record) {
      records.push(record);
    } else if (last) {
      break;
    } else {
      begins = Math.max(begins, Math.min(entry.sequence, head.sequence) + 1);
    }
  }
  begins = records[0]?.sequence ?? begins;
  // Where what was asked for is gone from within the log, the log begins, as far as this page goes, after it.
  return { records, first: from >= first && begins > from ? begins : first };
}

/** The id of an entry as Redis has it. */
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

/** What the append script writes, in its order. Another program's fields make no record. */
const FIELDS = ['c', 'p', 't', 'y', 'd', 'j'];
const FLAGS: Record<string, boolean> = { 0: false, 1: true };

function entryOf([id, all]: RawEntry): RedisEntry {
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

/** No nonce for what is no number of 32 bits. */
function hex(decimal: string): string {
  const number = /^\d{1,10}$/.test(decimal) ? Number(decimal) : Infinity;
  return number <= 0xff_ff_ff_ff ? hex16(number >>> 16) + hex16(number & 0xff_ff) : '';
}

/** In two halves: a number past 31 bits takes V8 ten times as long. */
function hex16(number: number): string {
  return HEX_BYTES[number >>> 8]! + HEX_BYTES[number & 0xff]!;
}

const HEX_BYTES = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

function isCount(text: string): boolean {
  return /^[1-9]\d{0,14}$/.test(text);
}
