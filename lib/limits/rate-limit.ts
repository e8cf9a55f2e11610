const MINUTE_MS = 60_000;
// A bound in case an app gives each client a key of its own. About 15 MB.
const MAX_KEYS = 100_000;
// Each use forgets more keys than it can add.
const CHECKED_PER_USE = 2;

/** What is left of a key's allowance. */
interface Bucket {
  /** Negative while the key is in debt. */
  left: number;
  /** The time of `left`, in milliseconds. */
  at: number;
}

/**
 * An allowance for each key, which fills up within a minute: a token bucket. A key that was not used for so long that
 * its bucket is full is forgotten, without a timer.
 */
export class RateLimit {
  readonly #perMinute: number;
  readonly #now: () => number;
  /** By key, the one that was not used for longest first. */
  readonly #buckets = new Map<string, Bucket>();

  /**
   * @param perMinute - what a key may use in a minute, and at once after a minute without use; Infinity for no limit
   * @param now - a clock in milliseconds
   */
  constructor(perMinute: number, now: () => number = () => performance.now()) {
    this.#perMinute = perMinute;
    this.#now = now;
  }

  /** The number of keys that are remembered. */
  get size(): number {
    return this.#buckets.size;
  }

  /** Returns the milliseconds until each of the keys has something left; 0 if each has. */
  waitMs(keys: readonly string[]): number {
    if (this.#perMinute === Infinity) {
      return 0;
    }
    const now = this.#now();
    return keys.reduce((longest, key) => {
      const bucket = this.#buckets.get(key);
      const left = bucket ? this.#leftAt(bucket, now) : this.#perMinute;
      return left >= 1 ? longest : Math.max(longest, Math.ceil((1 - left) / this.#perMs));
    }, 0);
  }

  /** Uses an amount for each key. An amount that is more than what is left puts the key into debt. */
  take(keys: readonly string[], amount = 1): void {
    if (this.#perMinute === Infinity) {
      return;
    }
    const now = this.#now();
    for (const key of keys) {
      const bucket = this.#buckets.get(key);
      const left = (bucket ? this.#leftAt(bucket, now) : this.#perMinute) - amount;
      // To the end of the order.
      this.#buckets.delete(key);
      this.#buckets.set(key, { left, at: now });
      this.#forgetIdle(now);
    }
  }

  /** Gives back an amount that was taken for nothing. */
  giveBack(keys: readonly string[], amount = 1): void {
    for (const key of keys) {
      const bucket = this.#buckets.get(key);
      if (bucket) {
        bucket.left += amount;
      }
    }
  }

  get #perMs(): number {
    return this.#perMinute / MINUTE_MS;
  }

  #leftAt({ left, at }: Bucket, now: number): number {
    return Math.min(this.#perMinute, left + (now - at) * this.#perMs);
  }

  #forgetIdle(now: number): void {
    let checked = 0;
    for (const [key, bucket] of this.#buckets) {
      const isIdle = this.#leftAt(bucket, now) === this.#perMinute;
      if ((!isIdle && this.#buckets.size <= MAX_KEYS) || checked === CHECKED_PER_USE) {
        return;
      }
      this.#buckets.delete(key);
      checked += 1;
    }
  }
}
