/** Lets a number of tasks run at once. Further ones wait, in the order in which they came. */
export class Turns {
  readonly #most: number;
  readonly #onWait: () => void;
  #running = 0;
  #waiting: (() => void)[] = [];

  /** @param onWait - called for each task that has to wait */
  constructor(most: number, onWait: () => void) {
    this.#most = most;
    this.#onWait = onWait;
  }

  async run<T>(task: () => Promise<T>): Promise<T> {
    if (this.#running < this.#most) {
      this.#running += 1;
    } else {
      this.#onWait();
      // It takes over the place of the task that ends.
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve);
      });
    }
    try {
      return await task();
    } finally {
      const next = this.#waiting.shift();
      if (next) {
        next();
      } else {
        this.#running -= 1;
      }
    }
  }
}
