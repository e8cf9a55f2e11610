import type { LogHealth, LogState } from '../log/index.js';

/** The health of an engine, as the engine sets it. */
export class HealthState implements LogHealth {
  #state: LogState;
  #reason: string | undefined;
  readonly #listeners = new Set<() => void>();

  constructor(state: LogState, reason?: string) {
    this.#state = state;
    this.#reason = reason;
  }

  get state(): LogState {
    return this.#state;
  }

  get reason(): string | undefined {
    return this.#reason;
  }

  /** Tells those who listen where the state is another one; a new reason alone is told to nobody. */
  set(state: LogState, reason?: string): void {
    const isChange = state !== this.#state;
    this.#state = state;
    this.#reason = reason;
    if (isChange) {
      for (const listener of this.#listeners) {
        listener();
      }
    }
  }

  onChange(listener: () => void): () => void {
    // A wrapper of its own: the same function may listen twice.
    const entry = () => listener();
    this.#listeners.add(entry);
    return () => void this.#listeners.delete(entry);
  }
}
