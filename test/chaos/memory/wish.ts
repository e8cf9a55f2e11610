import type { Random } from '../../support/random.js';

/** What a client follows, and how: sent to the server, and what the client is held to. */
export interface Wish {
  /** Tells one wish of a client from another. */
  readonly uid: number;
  readonly pattern: string;
  readonly filter: boolean;
  readonly envelope: boolean;
  /** Of what it has missed, only the last event of each topic. */
  readonly latest: boolean;
  /** A state before the events; `own` is one that says itself how far it goes. */
  readonly snapshot: 'none' | 'asked' | 'own';
}

const few = (random: Random) => random.between(0, 4);

export const TOPICS = [
  ...numbers(30).map((n) => `a.${n}`),
  ...numbers(10).flatMap((n) => [`b.${n}.x`, `b.${n}.y`]),
  ...numbers(5).map((n) => `secret.${n}`),
  'c',
  'd.1.2.3',
];

/** Mostly narrow: one that matches everything costs as much as twenty others. */
const PATTERNS: readonly ((random: Random) => string)[] = [
  (random) => `a.${random.between(0, 29)}`,
  (random) => `a.${random.between(0, 29)}`,
  (random) => `b.${random.between(0, 9)}.*`,
  (random) => `b.${random.between(0, 9)}.>`,
  (random) => `*.${few(random)}`,
  (random) => `*.${few(random)}.>`,
  (random) => `secret.${few(random)}`,
  () => 'secret.*',
  () => 'b.*.x',
  () => 'c',
  () => 'd.>',
  () => 'nothing.here',
  (random) => random.pick(['a.*', 'b.>', '>', 'd.*.2.*']),
];

export function makeWish(random: Random, uid: number): Wish {
  return {
    uid,
    pattern: random.pick(PATTERNS)(random),
    filter: random.next() < 0.2,
    envelope: random.next() < 0.3,
    latest: random.next() < 0.2,
    snapshot: random.next() < 0.85 ? 'none' : random.pick(['asked', 'own']),
  };
}

function numbers(count: number): number[] {
  return Array.from({ length: count }, (_, n) => n);
}
