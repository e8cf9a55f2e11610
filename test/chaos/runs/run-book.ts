import type { StoredRecord, StoredRun } from './history.js';

/** A run that is written down. */
export interface BookedRun extends StoredRun {
  readonly records: StoredRecord[];
  readonly past: (readonly StoredRecord[])[];
  /** How often its log was written to. A write may bring no record, as that of a fence on NATS. */
  writes: number;
}

/** The runs that a recorder has written down, and what they go back to where an old copy of their logs comes back. */
export class RunBook {
  /** By key, in the order in which they began. */
  readonly #runs = new Map<string, BookedRun>();
  /** What each run had when the logs were copied. */
  #copied: ReadonlyMap<string, { records: number; writes: number }> = new Map();

  get runs(): readonly BookedRun[] {
    return [...this.#runs.values()];
  }

  find(key: string): BookedRun | undefined {
    return this.#runs.get(key);
  }

  begin(id: string, key: string): BookedRun {
    const run = { id, key, records: [], past: [], writes: 0 };
    this.#runs.set(key, run);
    return run;
  }

  /** Says that the logs are copied as they are. */
  copy(): void {
    this.#copied = new Map(
      this.runs.map(({ key, records, writes }) => [key, { records: records.length, writes }]),
    );
  }

  /** Says that the logs are again as they were when they were copied. A run that began since is in none of them. */
  goBack(): void {
    for (const run of this.#runs.values()) {
      const kept = this.#copied.get(run.key) ?? { records: 0, writes: 0 };
      if (kept.writes < run.writes) {
        run.past.push([...run.records]);
        run.records.length = kept.records;
        run.writes = kept.writes;
      }
    }
  }
}
