/** A list that is added to at its end and taken off at its front. */
export class Queue<T> {
  #items: (T | undefined)[] = [];
  #start = 0;

  get length(): number {
    return this.#items.length - this.#start;
  }

  /** The item at an index, 0 being the front. */
  at(index: number): T | undefined {
    return index < 0 ? undefined : this.#items[this.#start + index];
  }

  push(item: T): void {
    this.#items.push(item);
  }

  shift(): T | undefined {
    const item = this.at(0);
    if (this.length > 0) {
      // Left there, it would be held in memory until the next cut.
      this.#items[this.#start] = undefined;
      this.#start += 1;
    }
    // Array.shift() moves every item that is left; this moves each one once or less, on average.
    if (this.#start > 32 && this.#start * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#start);
      this.#start = 0;
    }
    return item;
  }

  /** The items from an index on, `limit` at most. */
  slice(from: number, limit: number): T[] {
    const start = this.#start + Math.max(0, from);
    return this.#items.slice(start, start + Math.max(0, limit)) as T[];
  }
}
