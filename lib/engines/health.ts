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

  /** Sets the state and the reason. Calls the listeners if the state has changed; a new reason alone calls none. */
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
    // In a wrapper, so that the same function can be added twice.
    const entry = () => listener();
    this.#listeners.add(entry);
    return () => void this.#listeners.delete(entry);
  }
}
