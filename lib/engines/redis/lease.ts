import type { Lease } from '../../log/index.js';
import { LeaseTerm } from '../index.js';
import type { AppendLease } from './appends.js';
import type { RedisLink } from './link.js';
import { KEEP_LEASE } from './scripts.js';

/** A lease that this process holds, as far as it knows: it counts the time itself, from before Redis did. */
export class RedisLease implements Lease, AppendLease {
  readonly token: number;
  readonly key: string;
  readonly #link: RedisLink;
  readonly #ttlMs: number;
  readonly #term: LeaseTerm;

  /** @param askedAt - when Redis was asked for it, by `performance.now()` */
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

  /** @throws SseError where Redis does not answer: the lease goes on until its time has run out */
  async renew(): Promise<boolean> {
    if (this.#term.hasEnded) {
      return false;
    }
    const askedAt = performance.now();
    // What arrives after its end would keep others from a run that nobody makes.
    const leftMs = this.#term.leftMs;
    const isKept = await this.#link.runBefore(
      KEEP_LEASE,
      [this.key],
      (deadline) => [String(this.token), String(this.#ttlMs), deadline],
      { leftMs },
    );
    if (this.#term.hasEnded) {
      // It has ended here meanwhile, and was prolonged there: others would wait for it in vain.
      await this.#giveBack();
      return false;
    }
    if (isKept === -1) {
      // Redis's clock is not what it was: the lease may be there.
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
