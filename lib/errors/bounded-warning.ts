const QUIET_MS = 10_000;

/** Warns of what may happen thousands of times a second: at once, and then at most every ten seconds. */
export class BoundedWarning {
  readonly #warn: (message: string) => void;
  #quietUntil = -Infinity;
  #unreported = 0;

  constructor(warn: (message: string) => void) {
    this.#warn = warn;
  }

  /** @param message made only if it is reported */
  report(message: () => string): void {
    const now = performance.now();
    if (now < this.#quietUntil) {
      this.#unreported += 1;
      return;
    }
    const others = this.#unreported > 0 ? ` ${this.#unreported} more since the last message.` : '';
    this.#quietUntil = now + QUIET_MS;
    this.#unreported = 0;
    this.#warn(message() + others);
  }
}
