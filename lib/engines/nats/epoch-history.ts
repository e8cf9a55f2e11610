// The most former epochs in a stream's description, and in each process.
const MOST_FORMER = 16;
// The epoch is kept in the stream's description: all servers of a cluster have the same one, and servers before 2.10
// have no metadata. The time of creation differs between servers: each has the time of its own copy.
const EPOCH = /\bepoch ([0-9a-z]{1,32})\b(?:, after((?: [0-9a-z]{1,32})+))?/;

/** The epochs in a stream's description. */
export interface DescribedEpochs {
  readonly epoch: string;
  /** Former epochs, the latest first. */
  readonly former: readonly string[];
}

/** Reads a description; undefined if it has no epoch. */
export function epochIn(description = ''): DescribedEpochs | undefined {
  const [, epoch, former = ''] = EPOCH.exec(description) ?? [];
  return epoch === undefined ? undefined : { epoch, former: former.split(' ').filter(Boolean) };
}

/** Returns a description with another epoch, which replaces its epoch or is appended. */
export function withEpoch(description: string | undefined, { epoch, former }: DescribedEpochs): string {
  const text = `epoch ${epoch}${former.length > 0 ? `, after ${former.slice(0, MOST_FORMER).join(' ')}` : ''}`;
  return description && EPOCH.test(description)
    ? description.replace(EPOCH, text)
    : [description, `(${text})`].filter(Boolean).join(' ');
}

/**
 * The epochs that a stream has had, as far as this process knows. A stream with a former epoch is a copy from before a
 * loss, and lacks the events since. It must get a new epoch: otherwise clients would resume as if no event were lost.
 */
export class EpochHistory {
  #current: string | undefined;
  #former: readonly string[] = [];

  /** All known epochs, to be noted as former ones of a new epoch. */
  get all(): readonly string[] {
    return this.#current === undefined ? this.#former : [this.#current, ...this.#former];
  }

  isFormer(epoch: string): boolean {
    return this.#former.includes(epoch);
  }

  /** Notes the epochs of a description. */
  see({ epoch, former }: DescribedEpochs): void {
    const before = this.#current === undefined || this.#current === epoch ? [] : [this.#current];
    const known = new Set([...before, ...this.#former, ...former]);
    known.delete(epoch);
    this.#current = epoch;
    this.#former = [...known].slice(0, MOST_FORMER);
  }
}
