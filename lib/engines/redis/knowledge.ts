import type { LogHead } from '../../log/index.js';
import { FormerEpochs } from './former-epochs.js';

/**
 * What a process knows of the app's log beside what its reader has read: the epochs that it has left, and what Redis
 * has acknowledged to it. A log that lacks any of this is an old copy, or has lost events.
 */
export class RedisKnowledge {
  #former = FormerEpochs.NONE;
  #epoch = '';
  /** An epoch that was acknowledged and not followed yet. */
  #ahead: string | undefined;
  /** What each append takes along; undefined until it is asked for anew. */
  #formerOfNext: string | undefined;

  /** The epochs that were given up. */
  get former(): FormerEpochs {
    return this.#former;
  }

  /** The epoch that the reader follows, with those that its log knows to be given up. */
  follow(epoch: string, former: string): void {
    if (this.#epoch !== epoch) {
      this.#former = this.#former.with(this.#epoch);
    }
    this.#formerOfNext = undefined;
    this.#epoch = epoch;
    this.#former = this.#former.merge(FormerEpochs.parse(former)).without(epoch);
    if (this.#ahead !== undefined && (this.#ahead === epoch || this.#former.has(this.#ahead))) {
      this.#ahead = undefined;
    }
  }

  acknowledge({ epoch }: LogHead): void {
    if (epoch !== this.#epoch && !this.#former.has(epoch)) {
      this.#ahead = epoch;
      this.#formerOfNext = undefined;
    }
  }

  /** The former epochs of a log that begins now: all that went before it. */
  formerOfNext(): string {
    this.#formerOfNext ??= String(this.#known(''));
    return this.#formerOfNext;
  }

  /** The epoch that was acknowledged and not followed: it cannot be told yet whether it is earlier or later. */
  get ahead(): string | undefined {
    return this.#ahead;
  }

  /** Whether a log of that epoch, with those that it knows to be given up, may be the log and no old copy of it. */
  allows(epoch: string, former: string): boolean {
    const known = this.#known(epoch);
    return !known.has(epoch) && FormerEpochs.parse(former).covers(known);
  }

  /** The former epochs of a log that takes the place of one of that epoch. */
  formerInPlaceOf(epoch: string, former: string): string {
    return String(this.#known(epoch).merge(FormerEpochs.parse(former)).with(epoch));
  }

  /** The epochs before one, as far as this process knows. */
  #known(epoch: string): FormerEpochs {
    return [this.#epoch, this.#ahead ?? '']
      .filter((one) => one !== epoch)
      .reduce((former, one) => former.with(one), this.#former);
  }
}
