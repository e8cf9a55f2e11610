import type { LogHead } from '../log/index.js';
import { FormerEpochs } from './former-epochs.js';

/**
 * The knowledge of this process about the app's log: its former epochs, and the events that the engine has acknowledged. A
 * log without them is an old copy, or has lost events.
 */
export class LogKnowledge {
  #former = FormerEpochs.NONE;
  #epoch = '';
  /** An acknowledged epoch that the reader does not follow yet. */
  #ahead: string | undefined;
  /** The text that each append sends; undefined if it must be made again. */
  #formerOfNext: string | undefined;

  /** The former epochs. */
  get former(): FormerEpochs {
    return this.#former;
  }

  /** Notes the epoch that the reader follows, with the former epochs of its log. */
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

  /** Returns the former epochs for a log that begins now. */
  formerOfNext(): string {
    this.#formerOfNext ??= String(this.#known(''));
    return this.#formerOfNext;
  }

  /** The acknowledged epoch that the reader does not follow yet. It may be earlier or later than the followed one. */
  get ahead(): string | undefined {
    return this.#ahead;
  }

  /** Returns whether a log with this epoch and these former epochs is no old copy. */
  allows(epoch: string, former: string): boolean {
    const known = this.#known(epoch);
    return !known.has(epoch) && FormerEpochs.parse(former).covers(known);
  }

  /** Returns the former epochs for a log that replaces one with this epoch. */
  formerInPlaceOf(epoch: string, former: string): string {
    return String(this.#known(epoch).merge(FormerEpochs.parse(former)).with(epoch));
  }

  /** Returns the epochs before this one, as far as this process knows. */
  #known(epoch: string): FormerEpochs {
    return [this.#epoch, this.#ahead ?? '']
      .filter((one) => one !== epoch)
      .reduce((former, one) => former.with(one), this.#former);
  }
}
