/** A first-in, first-out list with access by index. */
export class Queue<T> {
  #items: (T | undefined)[] = [];
  #start = 0;

  get length(): number {
    return this.#items.length - this.#start;
  }

  /** Returns the item at an index; 0 is the front. */
  at(index: number): T | undefined {
    return index < 0 ? undefined : this.#items[this.#start + index];
  }

  push(item: T): void {
    this.#items.push(item);
  }

  shift(): T | undefined {
    const item = this.at(0);
    if (this.length > 0) {
      // Otherwise the array would hold the item in memory until the next cut.
      this.#items[this.#start] = undefined;
      this.#start += 1;
    }
    // Array.shift() moves all remaining items on each call. This moves each item at most once on average.
    if (this.#start > 32 && this.#start * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#start);
      this.#start = 0;
    }
    return item;
  }

  /** Returns the items from an index on, at most `limit`. */
  slice(from: number, limit: number): T[] {
    const start = this.#start + Math.max(0, from);
    return this.#items.slice(start, start + Math.max(0, limit)) as T[];
  }
}
