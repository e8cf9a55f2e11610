import { randomBytes, randomUUID } from 'node:crypto';
import { NO_NONCE } from '../wire/index.js';

/** An epoch that no log has had. */
export function newEpoch(): string {
  // Node keeps random bytes ready for it: bytes asked for by the eight cost ten times as much, and each append has one.
  const uuid = randomUUID();
  return uuid.slice(0, 8) + uuid.slice(-8);
}

/** Nonces: random bytes are asked for by the thousand, and one by one they cost more than an append. */
export class NonceSource {
  /** As text: a number past 31 bits takes V8 ten times as long to write as hexadecimal. */
  #pool = '';
  #next = 0;

  next(): string {
    if (this.#next === this.#pool.length) {
      this.#pool = randomBytes(POOL_BYTES).toString('hex');
      this.#next = 0;
    }
    const nonce = this.#pool.slice(this.#next, this.#next + NONCE_LENGTH);
    this.#next += NONCE_LENGTH;
    // The nonce of the place before the first event belongs to no event.
    return nonce === NO_NONCE ? '00000001' : nonce;
  }
}

const POOL_BYTES = 1_024;
const NONCE_LENGTH = 8;
