import { readAmount, readNumber } from '../message.js';
import type { StreamMessage } from '../message.js';

/** What each message of a named log says of the log: the newest one says how it stands. */
export interface NamedState {
  readonly epoch: string;
  /** Of the newest record. */
  readonly sequence: number;
  readonly nonce: string;
  /** The lowest token of a lease that may append. */
  readonly fence: number;
  readonly ttlMs: number;
  readonly maxEvents: number;
  /** Whether it has expired. Its epoch is that of the log which comes next. */
  readonly isOver: boolean;
  /** The stream's sequence that its messages come after: at or below it they are another log's, where any are left. */
  readonly startsAfter: number;
}

/** A state, and the message that says so. */
export interface StoredState extends NamedState {
  readonly streamSequence: number;
  /** When the server took the message. */
  readonly time: number;
}

export const STATE_HEADER = 'Sse-Log';
const EPOCH = /^[0-9a-z]{1,32}$/;
const NONCE = /^[0-9a-f]{8}$/;

export function stateHeader(state: NamedState): [name: string, value: string] {
  const { epoch, sequence, nonce, fence, ttlMs, maxEvents, isOver, startsAfter } = state;
  const life = isOver ? 'over' : 'open';
  return [STATE_HEADER, [epoch, sequence, nonce, fence, ttlMs, maxEvents, life, startsAfter].join(' ')];
}

/** @returns undefined for a message that is none of ours */
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
  return { epoch, nonce, isOver: life === 'over', ...numbers, streamSequence, time };
}

function areAll<K extends string>(numbers: Record<K, number | undefined>): numbers is Record<K, number> {
  return Object.values(numbers).every((number) => number !== undefined);
}
