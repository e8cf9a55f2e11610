// What is kept in a stream's description, and by each process.
const MOST_FORMER = 16;
// In the stream's description, which all servers of a cluster have alike, and no server before 2.10 has metadata. When
// it was created they do not agree on: to each it is when its own copy was.
const EPOCH = /\bepoch ([0-9a-z]{1,32})\b(?:, after((?: [0-9a-z]{1,32})+))?/;

/** What a stream's description says of its epoch. */
export interface EpochWords {
  readonly epoch: string;
  /** Epochs that it has had before, the latest first. */
  readonly former: readonly string[];
}

/** @returns undefined for a description without an epoch */
export function epochIn(description = ''): EpochWords | undefined {
  const [, epoch, former = ''] = EPOCH.exec(description) ?? [];
  return epoch === undefined ? undefined : { epoch, former: former.split(' ').filter(Boolean) };
}

/** A description with another epoch in the place of the one that it has, or after what it says. */
export function withEpoch(description: string | undefined, { epoch, former }: EpochWords): string {
  const words = `epoch ${epoch}${former.length > 0 ? `, after ${former.slice(0, MOST_FORMER).join(' ')}` : ''}`;
  return description && EPOCH.test(description)
    ? description.replace(EPOCH, words)
    : [description, `(${words})`].filter(Boolean).join(' ');
}

/**
 * The epochs that a stream has had, as far as this process knows: itself, or by a description. A stream that has one
 * of the former ones again is a copy from before a loss: what was told since is not in it, and its epoch must not
 * stand, or clients that left before the loss went on as if nothing had been.
 */
export class EpochHistory {
  #current: string | undefined;
  #former: readonly string[] = [];

  get former(): readonly string[] {
    return this.#former;
  }

  /** Everything that a new epoch comes after. */
  get all(): readonly string[] {
    return this.#current === undefined ? this.#former : [this.#current, ...this.#former];
  }

  hasLeft(epoch: string): boolean {
    return this.#former.includes(epoch);
  }

  /** Notes what a description says. */
  see({ epoch, former }: EpochWords): void {
    const before = this.#current === undefined || this.#current === epoch ? [] : [this.#current];
    const known = new Set([...before, ...this.#former, ...former]);
    known.delete(epoch);
    this.#current = epoch;
    this.#former = [...known].slice(0, MOST_FORMER);
  }
}
