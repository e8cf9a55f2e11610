import type { LogHead, LogPage, LogRecord } from '../log/index.js';
import { bytesOf, recordsOf } from './entries.js';
import type { EntryRules, LogEntry } from './entries.js';

/** A page as the engine gives it. */
export interface EntryPage {
  readonly head: LogHead;
  /** The lowest sequence that the log holds; one past the head if it holds none. */
  readonly first: number;
  readonly entries: readonly LogEntry[];
}

// The most entries of one request: the engine serves no other caller meanwhile.
const PAGE_RECORDS = 1_000;
/** The bytes after which a page gets no further record. */
export const PAGE_BYTES = 4_194_304;

/** Returns the records of a page up to the first gap. */
export function logPageOf(page: EntryPage, from: number, rules: EntryRules): LogPage {
  return { epoch: page.head.epoch, ...recordsOf(page, from, rules), head: page.head.sequence };
}

/**
 * Reads records from a sequence on, in as many requests as it takes, up to the first gap.
 *
 * @param read - one request
 */
export async function readPage(
  read: (from: number, limit: number) => Promise<EntryPage>,
  from: number,
  limit: number,
  rules: EntryRules,
): Promise<LogPage> {
  const asked = () => Math.min(limit - records.length, PAGE_RECORDS);
  const records: LogRecord[] = [];
  let wanted = asked();
  let page = await read(from, wanted);
  let part = recordsOf(page, from, rules);
  const { epoch } = page.head;
  const { first } = part;
  let bytes = 0;
  for (;;) {
    const last = records.at(-1);
    const [next] = part.records;
    if (last && next && !(next.sequence === last.sequence + 1)) {
      break;
    }
    bytes += part.records.reduce((sum, record) => sum + bytesOf(record), 0);
    records.push(...part.records);
    const isCut = part.records.length < page.entries.length || page.entries.length < wanted;
    if (isCut || records.length >= limit || bytes >= PAGE_BYTES) {
      break;
    }
    const start = records.at(-1)!.sequence + 1;
    wanted = asked();
    const further = await read(start, wanted);
    if (further.head.epoch !== epoch) {
      break;
    }
    page = further;
    part = recordsOf(page, start, rules);
  }
  return { epoch, records, first: Math.max(first, page.first), head: page.head.sequence };
}
