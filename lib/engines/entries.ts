import type { LogHead, LogRecord } from '../log/index.js';
import type { RecordCheck, UncheckedRecord } from './record-check.js';

/** An unchecked entry of a log: a record, and the nonce of the record before it. */
export interface LogEntry {
  /** Names the entry, for messages. */
  readonly id: string;
  readonly sequence: number;
  readonly nonce: string;
  readonly previous: string;
  readonly unchecked: UncheckedRecord;
  /** Its approximate bytes in a reply. */
  readonly bytes: number;
}

/** Checks the entries of one log. */
export interface EntryRules {
  readonly check: RecordCheck;
  readonly maxEventBytes: number;
  /** The name of the log in the engine, for messages. */
  readonly key: string;
}

/** Returns whether an entry follows a head. */
export function follows(
  entry: Pick<LogEntry, 'sequence' | 'previous'>,
  { sequence, nonce }: Pick<LogHead, 'sequence' | 'nonce'>,
): boolean {
  return entry.sequence === sequence + 1 && entry.previous === nonce;
}

/** Checks an entry. @returns its record; undefined if it is refused, which is logged */
export function recordOf(entry: LogEntry, { check, maxEventBytes, key }: EntryRules): LogRecord | undefined {
  return check.accept(entry.unchecked, { maxEventBytes }, () => `entry ${entry.id} of ${key}`);
}

/**
 * Returns the records of a page up to the first gap. A refused entry counts as missing.
 *
 * @param page.first - the lowest sequence that the log holds; one past the head if it holds none
 * @returns the records, and the lowest sequence that the log holds according to this page
 */
export function recordsOf(
  { entries, first, head }: { entries: readonly LogEntry[]; first: number; head: LogHead },
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
  // If the requested entry is missing within the log, the log begins after it for this page.
  return { records, first: from >= first && begins > from ? begins : first };
}

/** Returns the bytes of a record, about. */
export function bytesOf({ topic, data }: LogRecord): number {
  return topic.length + data.length;
}
