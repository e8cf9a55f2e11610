import type { Lease } from '../../log/index.js';
import { LeaseTerm } from '../index.js';
import type { AppendLease } from './appends.js';
import type { RedisLink } from './link.js';
import { KEEP_LEASE } from './scripts.js';

/** A lease of this process. It counts its time from the request, which is before Redis does. */
export class RedisLease implements Lease, AppendLease {
  readonly token: number;
  readonly key: string;
  readonly #link: RedisLink;
  readonly #ttlMs: number;
  readonly #term: LeaseTerm;

  /** @param askedAt - when Redis was asked for the lease, by `performance.now()` */
  constructor(
    key: string,
    token: number,
    options: { link: RedisLink; ttlMs: number; askedAt: number; onEnd: () => void },
  ) {
    this.key = key;
    this.token = token;
    this.#link = options.link;
    this.#ttlMs = options.ttlMs;
    this.#term = new LeaseTerm(options.ttlMs, options.askedAt, options.onEnd);
  }

  get signal(): AbortSignal {
    return this.#term.signal;
  }

  /** @throws SseError if Redis does not answer. The lease goes on until its time is over */
  async renew(): Promise<boolean> {
    if (this.#term.hasEnded) {
      return false;
    }
    const askedAt = performance.now();
    // A request that arrived after the lease's end would block other instances.
    const leftMs = this.#term.leftMs;
    const isKept = await this.#link.runBefore(
      KEEP_LEASE,
      [this.key],
      (deadline) => [String(this.token), String(this.#ttlMs), deadline],
      { leftMs },
    );
    if (this.#term.hasEnded) {
      // It has ended here, and Redis has prolonged it: other instances would wait for it in vain.
      await this.#giveBack();
      return false;
    }
    if (isKept === -1) {
      // Redis's clock has changed. The lease may still exist.
      this.#link.forgetClock();
      return this.renew();
    }
    if (isKept !== 1) {
      this.#term.end();
      return false;
    }
    this.#term.prolong(askedAt);
    return true;
  }

  async release(): Promise<void> {
    if (!this.#term.hasEnded) {
      this.#term.end();
      await this.#giveBack();
    }
  }

  async #giveBack(): Promise<void> {
    await this.#link.run(KEEP_LEASE, [this.key], [String(this.token), '0', '']);
  }
}
