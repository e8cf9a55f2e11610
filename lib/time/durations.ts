/** Durations, counted in buckets: how many there were, and about how long they took. */
export interface DurationCounts {
  /** The upper bounds of the buckets, in milliseconds, inclusive and rising. */
  readonly boundsMs: readonly number[];
  /**
   * How many durations fell into each bucket, not accumulated. It has one more entry than `boundsMs`: the durations
   * above all bounds.
   */
  readonly counts: readonly number[];
  /** How many there were. */
  readonly count: number;
  /** Their sum, in milliseconds. */
  readonly sumMs: number;
}

/** Counts durations in buckets. To count one allocates nothing. */
export class Durations {
  readonly #boundsMs: readonly number[];
  readonly #counts: number[];
  #sumMs = 0;

  /** @param boundsMs - the upper bounds of the buckets, in milliseconds, rising */
  constructor(boundsMs: readonly number[]) {
    this.#boundsMs = boundsMs;
    this.#counts = Array.from({ length: boundsMs.length + 1 }, () => 0);
  }

  add(ms: number): void {
    let bucket = 0;
    while (bucket < this.#boundsMs.length && ms > this.#boundsMs[bucket]!) {
      bucket += 1;
    }
    this.#counts[bucket]! += 1;
    this.#sumMs += ms;
  }

  /** Returns a copy of what was counted. */
  read(): DurationCounts {
    return {
      boundsMs: this.#boundsMs,
      counts: [...this.#counts],
      count: this.#counts.reduce((sum, count) => sum + count, 0),
      sumMs: this.#sumMs,
    };
  }
}

/** Bounds for what the process does itself, or asks an engine for: 0.5 ms to 10 s. */
export const SHORT_MS: readonly number[] = Object.freeze([
  0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000,
]);

/** Bounds for how long a stream lasts: a second to a day. */
export const LONG_MS: readonly number[] = Object.freeze([
  1_000, 5_000, 15_000, 60_000, 300_000, 900_000, 3_600_000, 14_400_000, 43_200_000, 86_400_000,
]);
