/** What the logs that have ended may take together. */
export interface EndedLimits {
  /** Bytes, as each log counts them. */
  readonly bytes: number;
  readonly count: number;
}

/** The logs that are kept after their end, the one that ended first first. */
export class EndedLogs {
  readonly #limits: EndedLimits;
  /** The bytes of each log at its end. */
  readonly #bytesOf = new Map<string, number>();
  #bytes = 0;

  constructor(limits: EndedLimits) {
    this.#limits = limits;
  }

  /** Adds a log, as the one that ended last. */
  add(name: string, bytes: number): void {
    this.delete(name);
    this.#bytesOf.set(name, bytes);
    this.#bytes += bytes;
  }

  /** Forgets a log that is live again, or gone. */
  delete(name: string): void {
    this.#bytes -= this.#bytesOf.get(name) ?? 0;
    this.#bytesOf.delete(name);
  }

  clear(): void {
    this.#bytesOf.clear();
    this.#bytes = 0;
  }

  /** Returns the limit that is exceeded, and the log to drop for it. The log that ended last is kept, however large. */
  get excess(): { limit: keyof EndedLimits; oldest: string } | undefined {
    const [oldest] = this.#bytesOf.keys();
    if (oldest === undefined || this.#bytesOf.size === 1) {
      return undefined;
    }
    const isTooMany = this.#bytesOf.size > this.#limits.count;
    return isTooMany || this.#bytes > this.#limits.bytes
      ? { limit: isTooMany ? 'count' : 'bytes', oldest }
      : undefined;
  }
}
