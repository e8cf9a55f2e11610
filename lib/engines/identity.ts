import { randomBytes, randomUUID } from 'node:crypto';
import { NO_NONCE } from '../wire/index.js';

/** Makes an epoch that no log has had. */
export function newEpoch(): string {
  // Node keeps random bytes in reserve for randomUUID. Each append has an epoch, and randomBytes(8) costs ten times as
  // much.
  const uuid = randomUUID();
  return uuid.slice(0, 8) + uuid.slice(-8);
}

/** A source of nonces. It draws a kilobyte of random bytes at a time: one draw for each costs more than an append. */
export class NonceSource {
  #pool = '';
  #next = 0;

  /** Returns a nonce as text. For a number past 31 bits, V8 takes ten times as long to write hexadecimal. */
  next(): string {
    if (this.#next === this.#pool.length) {
      this.#pool = randomBytes(POOL_BYTES).toString('hex');
      this.#next = 0;
    }
    const nonce = this.#pool.slice(this.#next, this.#next + NONCE_LENGTH);
    this.#next += NONCE_LENGTH;
    // The nonce of the position before the first event is reserved.
    return nonce === NO_NONCE ? '00000001' : nonce;
  }
}

const POOL_BYTES = 1_024;
const NONCE_LENGTH = 8;
