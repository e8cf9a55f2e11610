import type { StoredRecord, StoredRun } from './history.js';

/** A run that is written down. */
export interface BookedRun extends StoredRun {
  readonly records: StoredRecord[];
  readonly past: (readonly StoredRecord[])[];
}

/** The runs that a recorder has written down, and what they go back to where an old copy of their logs comes back. */
export class RunBook {
  /** By key, in the order in which they began. */
  readonly #runs = new Map<string, BookedRun>();
  /** How many records each run had when the logs were copied. */
  #copied: ReadonlyMap<string, number> = new Map();

  get runs(): readonly BookedRun[] {
    return [...this.#runs.values()];
  }

  find(key: string): BookedRun | undefined {
    return this.#runs.get(key);
  }

  begin(id: string, key: string): BookedRun {
    const run = { id, key, records: [], past: [] };
    this.#runs.set(key, run);
    return run;
  }

  /** Says that the logs are copied as they are. */
  copy(): void {
    this.#copied = new Map(this.runs.map(({ key, records }) => [key, records.length]));
  }

  /** Says that the logs are again as they were when they were copied. A run that began since is in none of them. */
  goBack(): void {
    for (const { key, records, past } of this.#runs.values()) {
      const kept = this.#copied.get(key) ?? 0;
      if (kept < records.length) {
        past.push([...records]);
        records.length = kept;
      }
    }
  }
}
