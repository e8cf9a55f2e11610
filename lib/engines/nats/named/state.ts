import { readAmount, readNumber } from '../message.js';
import type { StreamMessage } from '../message.js';

/** The state of a named log. Each message holds it; the newest one counts. */
export interface NamedState {
  readonly epoch: string;
  /** The sequence of the newest record. */
  readonly sequence: number;
  readonly nonce: string;
  /** The fence: the lowest lease token that may append. */
  readonly fence: number;
  readonly ttlMs: number;
  readonly maxEvents: number;
  /** Whether the log has expired. Then the epoch is the next log's. */
  readonly hasExpired: boolean;
  /** The stream's sequence after which its messages begin. Messages up to it belong to an earlier log. */
  readonly startsAfter: number;
}

/** A state, and its message. */
export interface StoredState extends NamedState {
  readonly streamSequence: number;
  /** When the server stored the message. */
  readonly time: number;
}

export const STATE_HEADER = 'Sse-Log';
const EPOCH = /^[0-9a-z]{1,32}$/;
const NONCE = /^[0-9a-f]{8}$/;

export function stateHeader(state: NamedState): [name: string, value: string] {
  const { epoch, sequence, nonce, fence, ttlMs, maxEvents, hasExpired, startsAfter } = state;
  const life = hasExpired ? 'over' : 'open';
  return [STATE_HEADER, [epoch, sequence, nonce, fence, ttlMs, maxEvents, life, startsAfter].join(' ')];
}

/** Reads the state of a message; undefined if it is not ours. */
export function stateOf(message: StreamMessage): StoredState | undefined {
  const [epoch = '', sequence, nonce = '', fence, ttlMs, maxEvents, life = '', startsAfter] = message
    .header(STATE_HEADER)
    .split(' ');
  const isOurs = EPOCH.test(epoch) && NONCE.test(nonce) && (life === 'open' || life === 'over');
  const numbers = {
    sequence: readNumber(sequence),
    fence: readNumber(fence),
    ttlMs: readAmount(ttlMs),
    maxEvents: readAmount(maxEvents),
    startsAfter: readNumber(startsAfter),
  };
  if (!isOurs || !areAll(numbers) || numbers.startsAfter >= message.sequence) {
    return undefined;
  }
  const { sequence: streamSequence, time } = message;
  return { epoch, nonce, hasExpired: life === 'over', ...numbers, streamSequence, time };
}

function areAll<K extends string>(numbers: Record<K, number | undefined>): numbers is Record<K, number> {
  return Object.values(numbers).every((number) => number !== undefined);
}
