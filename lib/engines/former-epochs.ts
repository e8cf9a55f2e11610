/** The most former epochs that are kept. An instance that misses more replacements than these is not supported. */
const MOST = 64;
const ENTRY = /^([0-9a-z]{1,32}):([1-9]\d{0,14})$/;

/**
 * The former epochs of a log. They are stored with the log, and each process remembers those that it has
 * followed. An old copy of the log that comes back lacks the latest ones: so it is recognized.
 *
 * A former epoch stays one, so two instances with different lags never replace each other's epoch. Each epoch has a
 * generation, and merging keeps the highest ones. A log that is merged with the knowledge of several instances is
 * replaced at most once for each of them.
 */
export class FormerEpochs {
  static readonly NONE = new FormerEpochs(new Map());

  readonly #generations: ReadonlyMap<string, number>;

  private constructor(generations: ReadonlyMap<string, number>) {
    this.#generations = generations;
  }

  /** Parses the stored text. Malformed entries are skipped. */
  static parse(text: string): FormerEpochs {
    if (text === '') {
      return FormerEpochs.NONE;
    }
    const generations = new Map<string, number>();
    for (const entry of text.split(' ')) {
      const [, epoch, generation] = ENTRY.exec(entry) ?? [];
      if (epoch !== undefined) {
        generations.set(epoch, Math.max(Number(generation), generations.get(epoch) ?? 0));
      }
    }
    return new FormerEpochs(newest(generations));
  }

  get size(): number {
    return this.#generations.size;
  }

  has(epoch: string): boolean {
    return this.#generations.has(epoch);
  }

  /** Adds an epoch as the latest one, unless it is there. */
  with(epoch: string): FormerEpochs {
    if (this.has(epoch) || epoch === '') {
      return this;
    }
    const generations = new Map(this.#generations);
    return new FormerEpochs(newest(generations.set(epoch, 1 + Math.max(0, ...this.#generations.values()))));
  }

  without(epoch: string): FormerEpochs {
    const generations = new Map(this.#generations);
    generations.delete(epoch);
    return new FormerEpochs(generations);
  }

  merge(others: FormerEpochs): FormerEpochs {
    if (others.size === 0 || others === this) {
      return this;
    }
    const generations = new Map(this.#generations);
    for (const [epoch, generation] of others.#generations) {
      generations.set(epoch, Math.max(generation, generations.get(epoch) ?? 0));
    }
    return new FormerEpochs(newest(generations));
  }

  /** Returns whether it has all of the other's epochs, or is full of later ones. */
  covers(others: FormerEpochs): boolean {
    const [lowest] = this.size < MOST ? [] : [...this.#generations].sort(byAge);
    return [...others.#generations].every(
      (entry) => this.has(entry[0]) || (lowest !== undefined && byAge(entry, lowest) < 0),
    );
  }

  toString(): string {
    return Array.from(this.#generations, ([epoch, generation]) => `${epoch}:${generation}`).join(' ');
  }
}

function newest(generations: ReadonlyMap<string, number>): ReadonlyMap<string, number> {
  return generations.size <= MOST ? generations : new Map([...generations].sort(byAge).slice(-MOST));
}

/** Compares epochs. All instances need the same order: otherwise two could drop each other's epochs in turn. */
function byAge([epoch, generation]: [string, number], [otherEpoch, other]: [string, number]): number {
  return generation - other || (epoch < otherEpoch ? -1 : 1);
}
