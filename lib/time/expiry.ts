import { MAX_TIMER_MS } from '../errors/index.js';
import { afterReading } from './after-reading.js';

/**
 * Ends something when it has been left alone for a time. To put that off costs a look at the clock,
 * not a timer: it can be done for every event.
 */
export class Expiry {
  readonly #expire: () => void;
  readonly #readsFirst: boolean;
  #ttlMs: number;
  #at = 0;
  #stopWaiting: () => void;

  /**
   * @param options.readsFirst reads what has come on sockets before anything ends: in a process that stood still it may
   * hold what puts the end off
   */
  constructor(ttlMs: number, expire: () => void, { readsFirst = false }: { readsFirst?: boolean } = {}) {
    this.#expire = expire;
    this.#readsFirst = readsFirst;
    this.#ttlMs = ttlMs;
    this.putOff();
    this.#stopWaiting = this.#wait();
  }

  /** @param ttlMs another time from now on */
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
          this.#stopWaiting = afterReading(() => this.#look());
        } else {
          this.#look();
        }
      },
      Math.min(Math.ceil(this.leftMs), MAX_TIMER_MS),
    );
    // What nobody asks about any more must not keep the process alive.
    timer.unref();
    return () => clearTimeout(timer);
  }

  #look(): void {
    if (this.leftMs === 0) {
      this.#expire();
    } else {
      this.#stopWaiting = this.#wait();
    }
  }
}
