import { SseError } from '../../errors/index.js';

// About 10 MB. Past it a claim is refused, so that callers cannot fill the memory of the process.
const MAX_CLAIMS = 100_000;

/** Names that are taken for a time. Expired ones are deleted when many are held: no name has a timer. */
export class MemoryClaims {
  /** When each name is free again, by `performance.now()`. */
  readonly #until = new Map<string, number>();
  /** The number of names at which expired ones are deleted. */
  #sweepAt = 1_000;

  /** @returns false if the name is taken @throws SseError `log-unavailable` if too many are */
  take(name: string, ttlMs: number): boolean {
    const now = performance.now();
    const until = this.#until.get(name);
    if (until !== undefined && now < until) {
      return false;
    }
    if (this.#until.size >= this.#sweepAt) {
      this.#sweep(now);
    }
    this.#until.set(name, now + ttlMs);
    return true;
  }

  #sweep(now: number): void {
    for (const [name, until] of this.#until) {
      if (until <= now) {
        this.#until.delete(name);
      }
    }
    if (this.#until.size >= MAX_CLAIMS) {
      throw new SseError(
        'log-unavailable',
        `memory() holds ${MAX_CLAIMS} claims already, and takes no more.`,
      );
    }
    // At twice as many names: the cost of a sweep, shared among the claims between two, does not grow.
    this.#sweepAt = Math.min(MAX_CLAIMS, Math.max(1_000, this.#until.size * 2));
  }
}
