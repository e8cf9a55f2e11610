import { Expiry } from '../time/index.js';

/**
 * How long a process holds a lease, as it counts by itself. For the holder it ends before it does for others: its time
 * begins when the engine is asked, not when it answers.
 */
export class LeaseTerm {
  readonly #ttlMs: number;
  readonly #onEnd: () => void;
  readonly #ended = new AbortController();
  readonly #expiry: Expiry;

  /** @param askedAt - when the engine was asked for the lease, by `performance.now()` */
  constructor(ttlMs: number, askedAt: number, onEnd: () => void) {
    this.#ttlMs = ttlMs;
    this.#onEnd = onEnd;
    // The answer to a renewal may have come in time, to a process that had none to read it. A holder that is wrong
    // about it harms nothing: the engine takes no append of one whose lease another has had.
    this.#expiry = new Expiry(this.#leftSince(askedAt), () => this.end(), { readsFirst: true });
  }

  get signal(): AbortSignal {
    return this.#ended.signal;
  }

  get hasEnded(): boolean {
    return this.#ended.signal.aborted;
  }

  get leftMs(): number {
    return this.#expiry.leftMs;
  }

  /** @param askedAt - when the engine was asked to prolong it, which it has */
  prolong(askedAt: number): void {
    if (!this.hasEnded) {
      this.#expiry.putOff(this.#leftSince(askedAt));
    }
  }

  end(): void {
    if (!this.hasEnded) {
      this.#expiry.cancel();
      this.#onEnd();
      this.#ended.abort();
    }
  }

  #leftSince(askedAt: number): number {
    return Math.max(0, this.#ttlMs - (performance.now() - askedAt));
  }
}
