import type { Reporter } from './reporter.js';

const QUIET_MS = 10_000;
// The kinds are few: topics and codes. A client's text is no kind.
const MAX_KINDS = 1_000;

/** A kind of message that is not logged for now. */
interface Quiet {
  until: number;
  leftOut: number;
}

/** Limits messages: each kind at most once in ten seconds, with the number of messages that were left out. */
export class RepeatLimit {
  readonly #quiet = new Map<string, Quiet>();

  /**
   * Returns the message if it is to be logged, else undefined.
   *
   * @param message - a function is called only if the message is logged: it may come for each event
   */
  limit(kind: string, message: string | (() => string)): string | undefined {
    const now = performance.now();
    const quiet = this.#quiet.get(kind);
    if (quiet && now < quiet.until) {
      quiet.leftOut += 1;
      return undefined;
    }
    if (!quiet && this.#quiet.size >= MAX_KINDS) {
      this.#quiet.clear();
    }
    this.#quiet.set(kind, { until: now + QUIET_MS, leftOut: 0 });
    const text = typeof message === 'string' ? message : message();
    return quiet?.leftOut ? `${text} (and ${quiet.leftOut} more since the last message)` : text;
  }
}

/** A reporter for failures that repeat for the same reason, such as a log that is unreachable. */
export class RepeatedReport {
  readonly #reporter: Reporter;
  readonly #limit = new RepeatLimit();

  constructor(reporter: Reporter) {
    this.#reporter = reporter;
  }

  error(kind: string, message: string, error: unknown): void {
    const limited = this.#limit.limit(kind, message);
    if (limited !== undefined) {
      this.#reporter.error(limited, error);
    }
  }

  warn(kind: string, message: string): void {
    const limited = this.#limit.limit(kind, message);
    if (limited !== undefined) {
      this.#reporter.warn(limited);
    }
  }

  /** @param message - called only if the message is logged */
  debug(kind: string, message: () => string): void {
    const limited = this.#limit.limit(kind, message);
    if (limited !== undefined) {
      this.#reporter.debug(limited);
    }
  }
}
