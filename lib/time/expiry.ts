import { MAX_TIMER_MS } from '../errors/index.js';

/**
 * Ends something when it has been left alone for a time. To put that off costs a look at the clock,
 * not a timer: it can be done for every event.
 */
export class Expiry {
  readonly #expire: () => void;
  #ttlMs: number;
  #at = 0;
  #timer: NodeJS.Timeout;

  constructor(ttlMs: number, expire: () => void) {
    this.#expire = expire;
    this.#ttlMs = ttlMs;
    this.putOff();
    this.#timer = this.#look();
  }

  /** @param ttlMs another time from now on */
  putOff(ttlMs = this.#ttlMs): void {
    const isSooner = ttlMs < this.#ttlMs;
    this.#ttlMs = ttlMs;
    this.#at = performance.now() + ttlMs;
    if (isSooner) {
      clearTimeout(this.#timer);
      this.#timer = this.#look();
    }
  }

  get leftMs(): number {
    return Math.max(0, this.#at - performance.now());
  }

  cancel(): void {
    clearTimeout(this.#timer);
  }

  #look(): NodeJS.Timeout {
    const timer = setTimeout(
      () => {
        if (performance.now() >= this.#at) {
          this.#expire();
        } else {
          this.#timer = this.#look();
        }
      },
      Math.min(Math.ceil(this.#at - performance.now()), MAX_TIMER_MS),
    );
    // What nobody asks about any more must not keep the process alive.
    timer.unref();
    return timer;
  }
}
