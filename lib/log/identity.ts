import { randomBytes, randomFillSync } from 'node:crypto';
import { NO_NONCE } from '../wire/index.js';

/** An epoch that no log has had. */
export function newEpoch(): string {
  return randomBytes(8).toString('hex');
}

/** Nonces: random numbers are asked for by the thousand, and one by one they cost more than an append. */
export class NonceSource {
  readonly #pool = new Uint32Array(256);
  #next = this.#pool.length;

  next(): string {
    if (this.#next === this.#pool.length) {
      randomFillSync(this.#pool);
      this.#next = 0;
    }
    const nonce = this.#pool[this.#next]!.toString(16).padStart(8, '0');
    this.#next += 1;
    // The nonce of the place before the first event belongs to no event.
    return nonce === NO_NONCE ? '00000001' : nonce;
  }
}
