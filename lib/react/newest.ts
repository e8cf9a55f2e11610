const EMPTY: readonly never[] = [];

/** The newest of what was added, up to a bound. */
export class Newest<Item> {
  #items: Item[] = [];
  #list: readonly Item[] | undefined = EMPTY;

  add(item: Item, max: number): void {
    if (max > 0) {
      this.#items.push(item);
      this.#list = undefined;
      // Not for each item: that would move all the others each time.
      if (this.#items.length >= 2 * max) {
        this.#items = this.#items.slice(-max);
      }
    }
  }

  /** Whether nothing was added since the list was made. */
  get isListed(): boolean {
    return this.#list !== undefined;
  }

  clear(): void {
    this.#items = [];
    this.#list = EMPTY;
  }

  /** The newest `max`, the last one last. The same array until another is added. */
  list(max: number): readonly Item[] {
    this.#list ??= this.#items.slice(-max);
    return this.#list;
  }
}
