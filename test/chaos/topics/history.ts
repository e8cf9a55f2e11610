import { formatPosition } from '../../../lib/wire/index.js';
import type { PositionParts } from '../../../lib/wire/index.js';
import type { Wish } from '../memory/wish.js';

/** An event as its publisher knows it. */
export interface Sent {
  readonly n: number;
  readonly topic: string;
  readonly pad: string;
  /** What the publisher was told. */
  outcome:
    | { readonly kind: 'acknowledged'; readonly position: string }
    /** The log has it not, for certain. */
    | { readonly kind: 'refused' }
    | { readonly kind: 'unknown' }
    /** Nothing was said, by an app that could have spoken. */
    | { readonly kind: 'unresolved' };
}

/** The number of an entry that another program has written. */
export const FOREIGN = -1;

/** An entry of the log in its engine. */
export interface Entry {
  readonly sequence: number;
  readonly nonce: string;
  readonly n: number;
}

/** An entry, with the nonce of the one that it follows. */
export interface HeardEntry extends Entry {
  readonly previous: string;
}

/** What one script has appended. */
export interface HeardAppend {
  readonly epoch: string;
  readonly entries: readonly HeardEntry[];
}

/** What two lives of a log have in common. */
export interface Shared {
  readonly entries: readonly Entry[];
  readonly holes: readonly number[];
}

/**
 * One life of the log: all that it ever held, in order. Where data goes back, the next branch shares what is older.
 */
export class Branch {
  readonly epoch: string;
  /** Between these two times it began, and what came before was over. */
  readonly since: number;
  readonly seenAt: number;
  readonly entries = new Map<number, Entry>();
  /** From when on the log held nothing up to a sequence any more, though it went on. */
  readonly losses: { at: number; upTo: number }[] = [];
  /** Sequences that it passed without an entry. */
  readonly holes: number[] = [];
  #last = 0;

  /** @param shared - what it has of a life before it; see {@link upTo} */
  constructor(
    epoch: string,
    { since, seenAt }: { since: number; seenAt: number },
    shared: Iterable<Entry> | Shared = [],
  ) {
    this.epoch = epoch;
    this.since = since;
    this.seenAt = seenAt;
    const { entries, holes } = 'holes' in shared ? shared : { entries: shared, holes: [] };
    for (const entry of entries) {
      this.add(entry);
    }
    this.holes.push(...holes);
  }

  /** What it has up to a sequence, for a life that branches off there. */
  upTo(sequence: number): Shared {
    return {
      entries: [...this.entries.values()].filter((entry) => entry.sequence <= sequence),
      holes: this.holes.filter((hole) => hole <= sequence),
    };
  }

  /** The sequence of its newest entry. */
  get last(): number {
    return this.#last;
  }

  add(entry: Entry): void {
    this.entries.set(entry.sequence, entry);
    this.#last = Math.max(this.#last, entry.sequence);
  }

  /** Adds what another that goes on from it has. */
  catchUp(other: Branch): void {
    this.holes.push(...other.holes.filter((hole) => hole > this.last));
    for (const entry of other.entries.values()) {
      // One below its end was not heard when those around it were.
      if (!this.entries.has(entry.sequence)) {
        this.add(entry);
      }
    }
  }

  /** Whether it ever held what stands at a position, or begins there. */
  holds({ epoch, sequence, nonce }: PositionParts): boolean {
    if (epoch !== this.epoch) {
      return false;
    }
    // The log's head may be where its last entries never were, or were gone before they could be written down.
    return sequence === 0 || this.entries.get(sequence)?.nonce === nonce || this.holes.includes(sequence);
  }

  /** Whether it goes on past a place after another where nothing ever stood. */
  hasHole(after: number, upTo: number): boolean {
    return this.holes.some((hole) => hole > after && hole <= upTo);
  }

  /** Whether it had lost what stands at a sequence by then. */
  hasLost(sequence: number, at: number): boolean {
    return this.losses.some((loss) => loss.at <= at && sequence <= loss.upTo);
  }

  positionOf({ sequence, nonce }: Entry): string {
    return formatPosition({ epoch: this.epoch, sequence, nonce });
  }
}

/** What a client saw, in its order. */
export type Sight = { readonly at: number } & (
  | { readonly kind: 'connect'; readonly id: string | undefined; readonly isForged: boolean }
  | { readonly kind: 'cursor'; readonly id: string }
  | { readonly kind: 'reset'; readonly id: string; readonly reason: string }
  | { readonly kind: 'event'; readonly id: string; readonly data: string }
);

/** A sight, without its time. */
export type PlainSight = Sight extends infer S ? (S extends Sight ? Omit<S, 'at'> : never) : never;

/** A client, with all that it saw. */
export interface ClientRecord {
  readonly name: string;
  readonly wishes: readonly Wish[];
  /** Whether it may see what is secret. */
  readonly isCleared: boolean;
  /** Whether it has gone for good, before the end of the run. */
  readonly hasLeft: boolean;
  readonly sights: readonly Sight[];
}

/** A run, as its publishers, its clients and the log in Redis tell it. */
export interface ChaosHistory {
  readonly sent: ReadonlyMap<number, Sent>;
  /** In the order in which they began; the last one is what survived. */
  readonly branches: readonly Branch[];
  readonly clients: readonly ClientRecord[];
  /** What the instances were told: the smallest of each. */
  readonly limits: { readonly maxEvents: number; readonly maxReplayEvents: number };
}

/** A history as JSON has it. */
export function plainHistory({ sent, branches, clients, limits }: ChaosHistory): object {
  return {
    sent: [...sent.values()],
    branches: branches.map(({ epoch, since, seenAt, entries, losses, holes }) => {
      return { epoch, since, seenAt, entries: [...entries.values()], losses, holes };
    }),
    clients: clients.map(({ name, wishes, isCleared, hasLeft, sights }) => {
      return { name, wishes, isCleared, hasLeft, sights };
    }),
    limits,
  };
}
