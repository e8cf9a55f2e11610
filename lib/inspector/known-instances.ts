import type { InstanceReport, Update } from './protocol.js';
import { compareText } from './row-text.js';

interface Known {
  readonly report: InstanceReport;
  /** By the wheel's clock. */
  readonly at: number;
}

// Instances of one app. What another program writes must not fill the memory.
const MAX_INSTANCES = 500;
/** The rows of an instance that is silent for so long are left out. */
const SILENT_MS = 15_000;
const FORGOTTEN_MS = 60_000;

/** The instances that have reported since a page was opened here. */
export class KnownInstances {
  readonly #id: string;
  readonly #now: () => number;
  readonly #known = new Map<string, Known>();

  /** @param id - this instance */
  constructor(id: string, now: () => number) {
    this.#id = id;
    this.#now = now;
  }

  put(report: InstanceReport): void {
    // This instance has a place of its own, whatever others write.
    if (report.id === this.#id || this.#known.has(report.id) || this.#known.size < MAX_INSTANCES) {
      this.#known.set(report.id, { report, at: this.#now() });
    }
  }

  /** Whether an instance was received from in the last 15 s. */
  isThere(id: string): boolean {
    const known = this.#known.get(id);
    return known !== undefined && this.#now() - known.at < SILENT_MS;
  }

  /** Returns all of them, this one first, then by their names. */
  list(): Update['instances'] {
    const now = this.#now();
    for (const [id, { at }] of this.#known) {
      if (now - at > FORGOTTEN_MS) {
        this.#known.delete(id);
      }
    }
    return Array.from(this.#known.values(), ({ report, at }) => ({
      ...report,
      silentMs: now - at,
      isHere: report.id === this.#id,
    })).sort(
      (a, b) => Number(b.isHere) - Number(a.isHere) || compareText(a.name, b.name) || compareText(a.id, b.id),
    );
  }

  clear(): void {
    this.#known.clear();
  }
}
