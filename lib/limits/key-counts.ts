/** How much of something belongs to each key, such as the number of its connections. A key with none is forgotten. */
export class KeyCounts {
  readonly #counts = new Map<string, number>();

  /** The number of keys that have any. */
  get size(): number {
    return this.#counts.size;
  }

  of(key: string): number {
    return this.#counts.get(key) ?? 0;
  }

  /** @param amount - less than 0 to take away */
  add(keys: readonly string[], amount = 1): void {
    for (const key of keys) {
      const count = this.of(key) + amount;
      if (count > 0) {
        this.#counts.set(key, count);
      } else {
        this.#counts.delete(key);
      }
    }
  }

  remove(keys: readonly string[]): void {
    this.add(keys, -1);
  }
}
