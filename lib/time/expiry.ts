import { MAX_TIMER_MS } from '../errors/index.js';
import { afterReading } from './after-reading.js';

/**
 * Calls back when it has not been put off for a time. Putting it off costs a reading of the clock, not a timer, so that
 * it can be done for each event.
 */
export class Expiry {
  readonly #expire: () => void;
  readonly #readsFirst: boolean;
  #ttlMs: number;
  #at = 0;
  #stopWaiting: () => void;

  /**
   * @param options.readsFirst - reads the data that waits in sockets before it calls back. After a process stood still,
   * that data may postpone the expiry
   */
  constructor(ttlMs: number, expire: () => void, { readsFirst = false }: { readsFirst?: boolean } = {}) {
    this.#expire = expire;
    this.#readsFirst = readsFirst;
    this.#ttlMs = ttlMs;
    this.putOff();
    this.#stopWaiting = this.#wait();
  }

  /** Puts the end off. @param ttlMs - another time from now on, in milliseconds */
  putOff(ttlMs = this.#ttlMs): void {
    const isSooner = ttlMs < this.#ttlMs;
    this.#ttlMs = ttlMs;
    this.#at = performance.now() + ttlMs;
    if (isSooner) {
      this.#stopWaiting();
      this.#stopWaiting = this.#wait();
    }
  }

  get leftMs(): number {
    return Math.max(0, this.#at - performance.now());
  }

  cancel(): void {
    this.#stopWaiting();
  }

  #wait(): () => void {
    const timer = setTimeout(
      () => {
        if (this.#readsFirst && this.leftMs === 0) {
          this.#stopWaiting = afterReading(() => this.#check());
        } else {
          this.#check();
        }
      },
      Math.min(Math.ceil(this.leftMs), MAX_TIMER_MS),
    );
    // An expiry must not keep the process alive.
    timer.unref();
    return () => clearTimeout(timer);
  }

  #check(): void {
    if (this.leftMs === 0) {
      this.#expire();
    } else {
      this.#stopWaiting = this.#wait();
    }
  }
}
