import type { LogEntry } from './entries.js';

const MOST_ENTRIES = 500;
const LEAST_ENTRIES = 8;
const REPLY_BYTES = 8_388_608;

/** The number of entries of each log that a reader asks for. A reply of large events stays within some megabytes. */
export class ReadSize {
  #entries = MOST_ENTRIES;

  get entries(): number {
    return this.#entries;
  }

  /** Adjusts the number to the size of the entries of a reply. */
  adjustTo(entries: readonly LogEntry[]): void {
    if (entries.length > 0) {
      const bytes = entries.reduce((sum, entry) => sum + entry.bytes, 0);
      const fitting = Math.floor(REPLY_BYTES / (bytes / entries.length + 1));
      this.#entries = Math.min(MOST_ENTRIES, Math.max(LEAST_ENTRIES, fitting));
    }
  }
}
