/** The first few of many values, in order. */
export class Top<T> {
  readonly #compare: (a: T, b: T) => number;
  readonly #limit: number;
  readonly #values: T[] = [];

  constructor(limit: number, compare: (a: T, b: T) => number) {
    this.#limit = limit;
    this.#compare = compare;
  }

  get values(): readonly T[] {
    return this.#values;
  }

  add(value: T): void {
    const values = this.#values;
    if (values.length === this.#limit && this.#compare(value, values.at(-1)!) >= 0) {
      return;
    }
    let low = 0;
    let high = values.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#compare(value, values[middle]!) < 0) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    values.splice(low, 0, value);
    values.length = Math.min(values.length, this.#limit);
  }
}
