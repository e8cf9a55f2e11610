import type { LogEntry, UncheckedRecord } from '../index.js';
import type { LogHead, NewRecord } from '../../log/index.js';
import type { PostgresRow } from './connections.js';

/** How the data of an event is kept. */
const KIND = { text: '0', json: '1', textWithNul: '2' } as const;

/** The head and entries of a log. */
export interface PostgresPage {
  /** The id of the log: another log of the same name has another one. */
  readonly id: string;
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

/** The head of the app's log, and the lines of data that it was and is on. */
export interface SeenLog {
  readonly id: string;
  readonly head: LogHead;
  readonly former: string;
  readonly wasOn: string;
  readonly isOn: string;
}

/** A log as the tail function sees it: its head, and the entries after a place. */
export interface TailOfLog {
  readonly head: LogHead;
  readonly former: string;
  /** The nonce of the event at the place; undefined if there is none. */
  readonly anchor: string | undefined;
  readonly entries: readonly LogEntry[];
}

/** A record as the append function takes it. */
export interface SentRecord {
  readonly n: string;
  readonly k: string;
  readonly t: string;
  readonly y: string | undefined;
  readonly d: string;
}

/** Makes a record of the append function. PostgreSQL stores no NUL, and no half of a surrogate pair. */
export function sentRecord({ topic, type, data, isJson }: NewRecord, nonce: string): SentRecord {
  const { kind, text } = storedData(data, isJson);
  return { n: nonce, k: kind, t: topic, y: type?.toWellFormed(), d: text };
}

/** Returns the data of an event as it is stored, and its kind. */
export function storedData(data: string, isJson: boolean): { kind: string; text: string } {
  const text = data.toWellFormed();
  if (isJson) {
    return { kind: KIND.json, text };
  }
  return text.includes('\0')
    ? { kind: KIND.textWithNul, text: JSON.stringify(text) }
    : { kind: KIND.text, text };
}

/** Reads the reply of the page function; undefined if there is no log. */
export function pageOf([first, ...rows]: readonly PostgresRow[]): PostgresPage | undefined {
  if (typeof first?.['head'] !== 'string') {
    return undefined;
  }
  const [id, epoch, sequence, nonce, lowest, former, maxEvents, ttlMs] = JSON.parse(
    first['head'],
  ) as string[];
  return {
    id: id!,
    head: headOf(epoch!, sequence!, nonce!),
    first: Math.min(Number(lowest), Number(sequence) + 1),
    entries: rows.map((row) => entryOf(row)),
    maxEvents: Number(maxEvents),
    ttlMs: Number(ttlMs),
    former: former!,
  };
}

/** Reads the reply of the look function. */
export function seenOf(reply: string): SeenLog {
  const [id, epoch, sequence, nonce, former, wasOn, isOn] = JSON.parse(reply) as string[];
  return { id: id!, head: headOf(epoch!, sequence!, nonce!), former: former!, wasOn: wasOn!, isOn: isOn! };
}

/** Reads the reply of the tail function, by the index of each log; undefined for a log that is gone. */
export function tailsOf(rows: readonly PostgresRow[], count: number): (TailOfLog | undefined)[] {
  const tails: (TailOfLog & { entries: LogEntry[] })[] = Array.from({ length: count });
  for (const row of rows) {
    const index = Number(row['n']) - 1;
    if (typeof row['head'] === 'string') {
      const [epoch, sequence, nonce, former, anchor] = JSON.parse(row['head']) as (string | null)[];
      const head = headOf(epoch!, sequence!, nonce!);
      tails[index] = { head, former: former!, anchor: anchor ?? undefined, entries: [] };
    } else {
      tails[index]?.entries.push(entryOf(row));
    }
  }
  return tails;
}

function headOf(epoch: string, sequence: string, nonce: string): LogHead {
  return { epoch, sequence: Number(sequence), nonce };
}

function entryOf(row: PostgresRow): LogEntry {
  const sequence = Number(row['sequence']);
  const { nonce, previous, topic, type } = row;
  const unchecked: UncheckedRecord = {
    sequence,
    nonce,
    topic,
    ...(type !== null && { type }),
    data: dataOf(row),
    isJson: row['kind'] === KIND.json,
    time: Number(row['time']),
  };
  return {
    id: `${sequence}-${nonce}`,
    sequence,
    nonce: nonce ?? '',
    previous: previous ?? '',
    unchecked,
    bytes: (topic?.length ?? 0) + (row['data']?.length ?? 0),
  };
}

/** Returns the data of a row; undefined if it is none of ours. */
function dataOf({ kind, data }: PostgresRow): unknown {
  if (kind !== KIND.textWithNul) {
    return kind === KIND.text || kind === KIND.json ? data : undefined;
  }
  try {
    return JSON.parse(data ?? '') as unknown;
  } catch {
    // Another program has written it. The check of the record refuses it.
    return undefined;
  }
}
