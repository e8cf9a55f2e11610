import type { Lease } from '../log/index.js';
import { closed } from './append-errors.js';
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

/** The leases that a store holds. */
export class HeldLeases {
  readonly #keeper: LeaseKeeper;
  readonly #closed: AbortSignal;
  readonly #all = new Set<EngineLease>();

  /** @param closed - aborts when the store is closed */
  constructor(keeper: LeaseKeeper, closed: AbortSignal) {
    this.#keeper = keeper;
    this.#closed = closed;
  }

  /**
   * Holds a lease that the engine has given.
   *
   * @param options.askedAt - when the engine was asked for it, by `performance.now()`
   * @throws SseError `closed` if the store was closed meanwhile: the lease is given back
   */
  async hold(key: string, token: number, options: { ttlMs: number; askedAt: number }): Promise<Lease> {
    const lease = new EngineLease(key, token, {
      keeper: this.#keeper,
      ...options,
      onEnd: () => this.#all.delete(lease),
    });
    this.#all.add(lease);
    if (this.#closed.aborted) {
      // If the engine does not answer, the lease expires.
      await Promise.allSettled([lease.release()]);
      throw closed(true);
    }
    return lease;
  }

  /** Gives all leases back. One that the engine does not take back expires. */
  async releaseAll(): Promise<void> {
    await Promise.allSettled([...this.#all].map((lease) => lease.release()));
  }
}

/** A lease of this process. It counts its time from the request, which is before the engine does. */
class EngineLease implements Lease, AppendLease {
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
