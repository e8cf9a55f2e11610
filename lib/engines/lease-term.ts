import { Expiry } from '../time/index.js';

/**
 * The term of a lease, by the holder's own clock. It begins when the engine is asked, not when it answers. So it ends
 * for the holder before another process can take the lease.
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
    // The answer to a renewal may wait in the socket of a process that stood still. A holder that goes on too long
    // harms nothing: the engine refuses its appends once another process has had the lease.
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

  /**
   * Extends the term, once the engine has renewed the lease.
   *
   * @param askedAt - when the engine was asked, by `performance.now()`
   */
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
