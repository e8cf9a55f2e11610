/** How many things that are alive belong to each key. A key with none is forgotten. */
export class KeyCounts {
  readonly #counts = new Map<string, number>();

  /** The number of keys that have any. */
  get size(): number {
    return this.#counts.size;
  }

  of(key: string): number {
    return this.#counts.get(key) ?? 0;
  }

  add(keys: readonly string[]): void {
    for (const key of keys) {
      this.#counts.set(key, this.of(key) + 1);
    }
  }

  remove(keys: readonly string[]): void {
    for (const key of keys) {
      const left = this.of(key) - 1;
      if (left > 0) {
        this.#counts.set(key, left);
      } else {
        this.#counts.delete(key);
      }
    }
  }
}
