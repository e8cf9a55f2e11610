import type { LogHead, LogPage, LogRecord } from '../log/index.js';
import { bytesOf } from './entries.js';

const PAGE_RECORDS = 500;

/**
 * Reads the newest records of a log, from its head downwards.
 *
 * @param page - reads records from a sequence on
 * @returns undefined if the log was replaced meanwhile
 */
export async function newestRecords(
  page: (from: number, limit: number) => Promise<LogPage>,
  head: LogHead,
  { recent, recentBytes }: { recent: number; recentBytes: number },
): Promise<readonly LogRecord[] | undefined> {
  const lowest = Math.max(1, head.sequence - recent + 1);
  const pages: (readonly LogRecord[])[] = [];
  let size = PAGE_RECORDS;
  let bytes = 0;
  for (let end = head.sequence; end >= lowest && bytes < recentBytes;) {
    const from = Math.max(lowest, end - size + 1);
    const { epoch, records } = await page(from, end - from + 1);
    if (epoch !== head.epoch) {
      return undefined;
    }
    const isWhole = records.at(-1)?.sequence === end;
    if (isWhole) {
      pages.unshift(records);
      bytes += records.reduce((sum, record) => sum + bytesOf(record), 0);
    }
    if (records[0]?.sequence !== from) {
      // Older records were trimmed.
      break;
    }
    if (isWhole) {
      end = from - 1;
    } else {
      // Large records come a few at a time.
      size = Math.max(1, Math.floor(size / 4));
    }
  }
  const newest = pages.flat();
  return newest.length > 0 && newest.at(-1)!.nonce !== head.nonce ? undefined : newest;
}
