import { Branch } from './history.js';
import type { Entry, HeardAppend, HeardEntry } from './history.js';

/** Writes down the lives of a log, out of what it holds each time that it is looked at. */
export abstract class BranchRecorder {
  readonly branches: Branch[] = [];
  /** What it could not write down: with any of it, what clients got cannot be judged. */
  readonly gaps: string[] = [];
  /**
   * Names of the log as it goes on at present, the newest last. An instance that has not noticed yet that it has
   * another one goes on under the former: nothing was lost in between.
   */
  #line: Branch[] = [];
  /** The epoch that the log had at the last look. What is heard since may be of later ones. */
  #seenEpoch = '';
  /** When the last look that was answered began. */
  protected lookedAt = 0;

  get head(): number {
    return this.branches.at(-1)?.last ?? 0;
  }

  /** Reads what has come. */
  abstract look(): Promise<void>;

  /**
   * Writes down epochs that began and ended between two looks.
   *
   * @param former - the epochs that the log names as given up, the oldest first
   */
  protected absorbFormer(
    former: readonly string[],
    head: number,
    entries: readonly Entry[],
    first?: number,
  ): void {
    const known = former.indexOf(this.#seenEpoch);
    for (const epoch of known === -1 ? [] : former.slice(known + 1)) {
      if (!this.branches.some((branch) => branch.epoch === epoch)) {
        this.absorb(epoch, head, entries, first);
      }
    }
  }

  /**
   * @param entries - what the log holds, up to its head; of a log that goes on, what it has got since
   * @param first - the lowest sequence that it holds
   */
  protected absorb(
    epoch: string,
    head: number,
    entries: readonly Entry[],
    first = entries[0]?.sequence ?? head + 1,
  ): void {
    this.#seenEpoch = epoch;
    const before = this.branches.at(-1);
    const count = this.branches.length;
    this.#absorb(epoch, head, entries, first);
    const [branch, begun] = [this.branches.at(-1)!, this.branches.slice(count)];
    const newest = before?.entries.get(before.last);
    const goesOn = newest ? stands(branch, newest) : before !== undefined;
    this.#line = goesOn || begun.length === 0 ? [...this.#line, ...begun] : begun;
    for (const each of this.#line) {
      if (each !== branch) {
        each.catchUp(branch);
      }
    }
  }

  /** The log as it goes on at present, by each name that it has: for {@link absorbAppend}. */
  protected get line(): readonly Branch[] {
    return this.#line;
  }

  /**
   * Writes down what a server has appended, whether or not it holds it still. Each entry says which one it follows: so
   * it shows where the log had gone back before.
   *
   * @param late - the log as it went on at a server that only some instances still take for it; the log as it goes on
   *   at present, if not given
   * @returns that log with the entries
   */
  protected absorbAppend({ epoch, entries }: HeardAppend, late?: readonly Branch[]): readonly Branch[] {
    let line = late ?? this.#line;
    for (const entry of entries) {
      if (this.branches.some((branch) => branch.epoch === epoch && stands(branch, entry))) {
        continue;
      }
      const ends = line.filter((branch) => isEndBefore(branch, entry));
      const before = ends[0] ?? this.branches.findLast((branch) => isBefore(branch, entry));
      if (!before && entry.sequence > 1) {
        // It follows a hole, which shows when the log is looked at.
        continue;
      }
      if (!ends.some((branch) => branch.epoch === epoch)) {
        const branch = new Branch(epoch, this.#between, before?.upTo(entry.sequence - 1));
        // What some instances still take for the log is not what survives.
        this.branches.splice(late ? this.branches.indexOf(this.#line[0]!) : this.branches.length, 0, branch);
        line = ends.length > 0 ? [...line, branch] : [branch];
        ends.push(branch);
      }
      ends.forEach((branch) => branch.add(entry));
    }
    if (!late) {
      this.#line = [...line];
    }
    return line;
  }

  /**
   * Adds what the log has held, and may not hold any more. What stood between two entries may have been heard by
   * nobody: a server that is killed has told one instance, and not yet the other.
   */
  protected addHeard(entries: readonly Entry[]): void {
    for (const entry of entries) {
      if (entry.sequence > this.head) {
        this.#line.forEach((each) => each.add(entry));
      }
    }
  }

  #absorb(epoch: string, head: number, entries: readonly Entry[], first: number): void {
    const branch = this.branches.at(-1);
    if (branch?.epoch !== epoch) {
      // What comes back may be a copy of a life before the last.
      const copied = this.branches.findLast((each) => lastShared(each, entries) > 0);
      // One that was empty has lost nothing.
      const before = copied ?? (branch?.last === 0 ? branch : undefined);
      const shared = before?.upTo(lastShared(before, entries));
      // The instance that notices a loss gives the log another epoch. Events between the loss and that moment were of
      // the epoch before.
      if (before) {
        this.#begin(new Branch(before.epoch, this.#between, shared), first, entries);
      }
      this.#begin(new Branch(epoch, this.#between, shared), first, entries);
      return;
    }
    const other = entries.find(({ sequence, nonce }) => {
      const known = branch.entries.get(sequence);
      return known && known.nonce !== nonce;
    });
    const goesOnTo = other ? other.sequence - 1 : Math.min(branch.last, head);
    if (goesOnTo < branch.last) {
      this.#begin(new Branch(epoch, this.#between, branch.upTo(goesOnTo)), first, entries);
      return;
    }
    this.#goOn(branch, first, entries);
  }

  get #between(): { since: number; seenAt: number } {
    return { since: this.lookedAt, seenAt: performance.now() };
  }

  #begin(branch: Branch, first: number, entries: readonly Entry[]): void {
    this.branches.push(branch);
    this.#goOn(branch, first, entries);
  }

  #goOn(branch: Branch, first: number, entries: readonly Entry[]): void {
    if (first > branch.last + 1) {
      this.gaps.push(
        `Entries ${branch.last + 1} to ${first - 1} of ${branch.epoch} went before they were seen.`,
      );
    }
    if (first - 1 > (branch.losses.at(-1)?.upTo ?? 0)) {
      branch.losses.push({ at: this.lookedAt, upTo: first - 1 });
    }
    for (const entry of entries) {
      if (branch.entries.has(entry.sequence)) {
        continue;
      }
      if (branch.entries.size > 0 && entry.sequence > first) {
        for (let hole = branch.last + 1; hole < entry.sequence; hole += 1) {
          branch.holes.push(hole);
        }
      }
      branch.add(entry);
    }
  }
}

function stands(branch: Branch, { sequence, nonce }: Entry): boolean {
  return branch.entries.get(sequence)?.nonce === nonce;
}

/** Whether a branch has what an entry follows. */
function isBefore(branch: Branch, { sequence, previous }: HeardEntry): boolean {
  return branch.entries.get(sequence - 1)?.nonce === previous;
}

/** Whether an entry is the next one of a branch. */
function isEndBefore(branch: Branch, entry: HeardEntry): boolean {
  if (branch.last !== entry.sequence - 1) {
    return false;
  }
  return entry.sequence === 1 || isBefore(branch, entry);
}

/** The sequence of the last entry that a branch and the log have; 0 if they have none in common. */
function lastShared(branch: Branch, entries: readonly Entry[]): number {
  return entries.findLast((entry) => stands(branch, entry))?.sequence ?? 0;
}
