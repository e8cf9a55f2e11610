/** Steps of clients that catch up, in one turn of the event loop. */
const STEPS_PER_TURN = 32;

/** The followers that are behind and can read on: each takes one step, then the next, a few in each turn. */
export class CatchUp<T> {
  readonly #step: (follower: T) => void;
  readonly #due = new Set<T>();
  #isScheduled = false;

  /** @param step - lets one follower read or write as much as it does at once */
  constructor(step: (follower: T) => void) {
    this.#step = step;
  }

  /** Gives a follower a step in a later turn. */
  schedule(follower: T): void {
    this.#due.add(follower);
    if (!this.#isScheduled) {
      this.#isScheduled = true;
      setImmediate(() => this.#turn());
    }
  }

  cancel(follower: T): void {
    this.#due.delete(follower);
  }

  #turn(): void {
    let steps = 0;
    for (const follower of this.#due) {
      this.#due.delete(follower);
      this.#step(follower);
      steps += 1;
      if (steps === STEPS_PER_TURN) {
        break;
      }
    }
    this.#isScheduled = this.#due.size > 0;
    if (this.#isScheduled) {
      setImmediate(() => this.#turn());
    }
  }
}
