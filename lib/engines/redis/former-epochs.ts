/** The most that are kept: an instance that is away for longer than so many losses is not waited for. */
const MOST = 64;
const ENTRY = /^([0-9a-z]{1,32}):([1-9]\d{0,14})$/;

/**
 * The epochs that a log has had and will not have again. They stand in the log's meta hash, and each process knows
 * those that it has left. An old copy of the log which comes back lacks what was given up since it was made: that is
 * how it is told from the log.
 *
 * An epoch that was given up stays so at any length, so two instances that lag differently never replace one another's
 * epoch. Each has a generation, and all who merge keep those of the highest: a log that gets the knowledge of several
 * instances is replaced once for each of them at most.
 */
export class FormerEpochs {
  static readonly NONE = new FormerEpochs(new Map());

  readonly #generations: ReadonlyMap<string, number>;

  private constructor(generations: ReadonlyMap<string, number>) {
    this.#generations = generations;
  }

  /** @param text - of a meta hash: what is no entry of it is passed over */
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

  /** Adds an epoch that is given up after all others, unless it is there. */
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

  /** Whether it has all of the others, or is full of later ones. */
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

/** One order for everyone: with another at each instance, two of them could drop by turns what the other keeps. */
function byAge([epoch, generation]: [string, number], [otherEpoch, other]: [string, number]): number {
  return generation - other || (epoch < otherEpoch ? -1 : 1);
}
