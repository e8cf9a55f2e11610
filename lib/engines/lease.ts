import type { Lease } from '../log/index.js';
import type { AppendLease } from './append-queue.js';
import { LeaseTerm } from './lease-term.js';

/** The engine of a lease, as the lease sees it. */
export interface LeaseKeeper {
  /**
   * Renews the lease, unless the request arrives more than `leftMs` from now.
   *
   * @returns `late` if the engine's clock has changed, so that the lease may still exist
   */
  renew(lease: AppendLease, ttlMs: number, leftMs: number): Promise<'kept' | 'lost' | 'late'>;
  giveBack(lease: AppendLease): Promise<void>;
}

/** A lease of this process. It counts its time from the request, which is before the engine does. */
export class EngineLease implements Lease, AppendLease {
  readonly token: number;
  readonly key: string;
  readonly #keeper: LeaseKeeper;
  readonly #ttlMs: number;
  readonly #term: LeaseTerm;

  /** @param askedAt - when the engine was asked for the lease, by `performance.now()` */
  constructor(
    key: string,
    token: number,
    options: { keeper: LeaseKeeper; ttlMs: number; askedAt: number; onEnd: () => void },
  ) {
    this.key = key;
    this.token = token;
    this.#keeper = options.keeper;
    this.#ttlMs = options.ttlMs;
    this.#term = new LeaseTerm(options.ttlMs, options.askedAt, options.onEnd);
  }

  get signal(): AbortSignal {
    return this.#term.signal;
  }

  /** @throws the engine's failure if it does not answer. The lease goes on until its time is over */
  async renew(): Promise<boolean> {
    if (this.#term.hasEnded) {
      return false;
    }
    const askedAt = performance.now();
    // A request that arrived after the lease's end would block other instances.
    const outcome = await this.#keeper.renew(this, this.#ttlMs, this.#term.leftMs);
    if (this.#term.hasEnded) {
      // It has ended here, and the engine has prolonged it: other instances would wait for it in vain.
      await this.#keeper.giveBack(this);
      return false;
    }
    if (outcome === 'late') {
      return this.renew();
    }
    if (outcome === 'lost') {
      this.#term.end();
      return false;
    }
    this.#term.prolong(askedAt);
    return true;
  }

  async release(): Promise<void> {
    if (!this.#term.hasEnded) {
      this.#term.end();
      await this.#keeper.giveBack(this);
    }
  }
}
