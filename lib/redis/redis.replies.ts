import type { LogHead, LogRecord, NewRecord } from '../log/index.js';

/** An entry of the stream: a record, and the nonce of the one before it. */
export interface RedisEntry {
  readonly record: LogRecord;
  readonly previous: string;
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
}

/** A head, and what stands at a place or comes next after it. */
export interface RedisPlace {
  /** Undefined where there is no log. */
  readonly head: LogHead | undefined;
  readonly next: { readonly sequence: number; readonly nonce: string; readonly previous: string } | undefined;
}

/** The arguments for a record in the append script. */
export function argumentsOf({ topic, type, data, isJson }: NewRecord, nonce: string): string[] {
  return [String(Number.parseInt(nonce, 16)), topic, type ?? '', data, isJson ? '1' : '0'];
}

export function headOf(epoch: string, sequence: string, nonce: string): LogHead {
  return { epoch, sequence: Number(sequence), nonce: hex(nonce) };
}

/** @param reply of the page script; undefined of a named log that is no more */
export function pageOf(reply: unknown): RedisPage | undefined {
  const [epoch, sequence, nonce, first, entries, maxEvents, ttlMs] = reply as RawPage;
  if (epoch === undefined) {
    return undefined;
  }
  const head = headOf(epoch, sequence, nonce);
  return {
    head,
    first: first === '' ? head.sequence + 1 : placeOf(first).sequence,
    entries: entries.map((entry) => entryOf(entry)),
    maxEvents: Number(maxEvents),
    ttlMs: Number(ttlMs),
  };
}

/** @param reply of the verify script */
export function placesOf(reply: unknown): RedisPlace[] {
  return (reply as [string, string, string, string, string][]).map(
    ([epoch, sequence, nonce, id, previous]) => ({
      head: epoch === '' ? undefined : headOf(epoch, sequence, nonce),
      next: id === '' ? undefined : { ...placeOf(id), previous: hex(previous) },
    }),
  );
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
];
type RawEntry = [id: string, fields: string[]];

// The fields stand in the order in which the append script writes them.
function entryOf([id, [, time, , previous, , topic, , type, , data, , isJson]]: RawEntry): RedisEntry {
  return {
    record: {
      ...placeOf(id),
      topic: topic!,
      ...(type ? { type } : {}),
      data: data!,
      isJson: isJson === '1',
      time: Number(time),
    },
    previous: hex(previous!),
  };
}

function placeOf(id: string): { sequence: number; nonce: string } {
  const [sequence, nonce] = id.split('-') as [string, string];
  return { sequence: Number(sequence), nonce: hex(nonce) };
}

function hex(decimal: string): string {
  return Number(decimal).toString(16).padStart(8, '0');
}
