import { Expiry } from '../../time/index.js';
import type { Lease } from '../../log/index.js';
import type { AppendLease } from './appends.js';
import type { RedisLink } from './link.js';
import { KEEP_LEASE } from './scripts.js';

/** A lease that this process holds, as far as it knows: it counts the time itself, from before Redis did. */
export class RedisLease implements Lease, AppendLease {
  readonly token: number;
  readonly key: string;
  readonly #link: RedisLink;
  readonly #ttlMs: number;
  readonly #ended = new AbortController();
  readonly #expiry: Expiry;
  readonly #onEnd: () => void;

  /** @param askedAt when Redis was asked for it, by `performance.now()` */
  constructor(
    key: string,
    token: number,
    options: { link: RedisLink; ttlMs: number; askedAt: number; onEnd: () => void },
  ) {
    this.key = key;
    this.token = token;
    this.#link = options.link;
    this.#ttlMs = options.ttlMs;
    this.#onEnd = options.onEnd;
    this.#expiry = new Expiry(leftOf(options.ttlMs, options.askedAt), () => this.#end());
  }

  get signal(): AbortSignal {
    return this.#ended.signal;
  }

  /** @throws SseError where Redis does not answer: the lease goes on until its time has run out */
  async renew(): Promise<boolean> {
    if (this.signal.aborted) {
      return false;
    }
    const askedAt = performance.now();
    // What arrives after its end would keep others from a run that nobody makes.
    const leftMs = this.#expiry.leftMs;
    const isKept = await this.#link.runBefore(
      KEEP_LEASE,
      [this.key],
      (deadline) => [String(this.token), String(this.#ttlMs), deadline],
      { leftMs },
    );
    if (this.signal.aborted) {
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
      this.#end();
      return false;
    }
    this.#expiry.putOff(leftOf(this.#ttlMs, askedAt));
    return true;
  }

  async release(): Promise<void> {
    if (!this.signal.aborted) {
      this.#end();
      await this.#giveBack();
    }
  }

  async #giveBack(): Promise<void> {
    await this.#link.run(KEEP_LEASE, [this.key], [String(this.token), '0', '']);
  }

  #end(): void {
    if (!this.signal.aborted) {
      this.#expiry.cancel();
      this.#onEnd();
      this.#ended.abort();
    }
  }
}

function leftOf(ttlMs: number, askedAt: number): number {
  return Math.max(0, ttlMs - (performance.now() - askedAt));
}
