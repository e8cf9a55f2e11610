import type { Reporter } from './reporter.js';

const QUIET_MS = 10_000;
// Topics and codes are few; whatever comes from a client is no key.
const MAX_KEYS = 1_000;

/** Since when a kind of report is quiet, and how many were left out. */
interface Quiet {
  until: number;
  leftOut: number;
}

/**
 * Reports of what comes again and again for the same reason, such as a log that is away: each kind once in ten
 * seconds, with the number of those that were left out.
 */
export class RepeatedReport {
  readonly #reporter: Reporter;
  readonly #quiet = new Map<string, Quiet>();

  constructor(reporter: Reporter) {
    this.#reporter = reporter;
  }

  error(kind: string, message: string, error: unknown): void {
    const counted = this.#counted(kind, message);
    if (counted !== undefined) {
      this.#reporter.error(counted, error);
    }
  }

  warn(kind: string, message: string): void {
    const counted = this.#counted(kind, message);
    if (counted !== undefined) {
      this.#reporter.warn(counted);
    }
  }

  /** @param message made only if it is to be reported: what is normal may come for each event */
  debug(kind: string, message: () => string): void {
    const counted = this.#counted(kind, message);
    if (counted !== undefined) {
      this.#reporter.debug(counted);
    }
  }

  #counted(kind: string, message: string | (() => string)): string | undefined {
    const now = performance.now();
    const quiet = this.#quiet.get(kind);
    if (quiet && now < quiet.until) {
      quiet.leftOut += 1;
      return undefined;
    }
    if (!quiet && this.#quiet.size >= MAX_KEYS) {
      this.#quiet.clear();
    }
    this.#quiet.set(kind, { until: now + QUIET_MS, leftOut: 0 });
    const text = typeof message === 'string' ? message : message();
    return quiet?.leftOut ? `${text} (and ${quiet.leftOut} more since the last message)` : text;
  }
}
