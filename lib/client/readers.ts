// What one loop may lag behind before the stream is not read any further.
const MAX_QUEUED = 1_000;

/** Hands items to any number of `for await` loops, each from when it began, and tells when one of them lags. */
export class Readers<Item> {
  readonly #queues = new Set<Item[]>();
  /** Resolve what waits for a change: loops for an item, the stream for a queue that is shorter. */
  #waiting: (() => void)[] = [];
  #end: { readonly error: Error | undefined } | undefined;

  push(item: Item): void {
    this.#queues.forEach((queue) => queue.push(item));
    this.#wake();
  }

  /**
   * Ends all loops, with the error if there is one, once they have read what waits for them.
   *
   * @param isLeft - drops what waits
   */
  end(error?: Error, isLeft = false): void {
    this.#end ??= { error };
    if (isLeft) {
      this.#queues.forEach((queue) => queue.splice(0));
    }
    this.#wake();
  }

  /** Whether every loop has taken what was handed to it. */
  get isEmpty(): boolean {
    return [...this.#queues].every(({ length }) => length === 0);
  }

  /** Resolves when a loop has taken an item: ask again then. Undefined if every loop can take more. */
  ready(): Promise<void> | undefined {
    return this.#isFull ? this.#change() : undefined;
  }

  /** Items from now on. */
  read(): AsyncGenerator<Item, void> {
    const queue: Item[] = [];
    this.#queues.add(queue);
    return this.#read(queue);
  }

  async *#read(queue: Item[]): AsyncGenerator<Item, void> {
    try {
      for (;;) {
        while (queue.length > 0) {
          const item = queue.shift()!;
          this.#wake();
          yield item;
        }
        if (this.#end) {
          if (this.#end.error) {
            throw this.#end.error;
          }
          return;
        }
        await this.#change();
      }
    } finally {
      this.#queues.delete(queue);
      this.#wake();
    }
  }

  get #isFull(): boolean {
    return !this.#end && [...this.#queues].some(({ length }) => length >= MAX_QUEUED);
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #wake(): void {
    this.#waiting.splice(0).forEach((resolve) => resolve());
  }
}
