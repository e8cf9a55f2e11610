import type { Deadline, DeadlineWheel } from '../../time/index.js';

// Clients that come and go in a hurry would otherwise fill the log with the word of it.
const LEAST_MS = 500;

/** Says to whoever makes a run elsewhere whether it has clients here: at each change, and again while it has. */
export class RunPresence {
  readonly #wheel: DeadlineWheel;
  readonly #presenceMs: number;
  readonly #tell: (hasClients: boolean) => void;
  #hasClients = false;
  #told = false;
  #toldAt = -Infinity;
  #next: Deadline | undefined;

  constructor(wheel: DeadlineWheel, presenceMs: number, tell: (hasClients: boolean) => void) {
    this.#wheel = wheel;
    this.#presenceMs = presenceMs;
    this.#tell = tell;
  }

  /** Whether the other side has been told of clients, and not yet that they are gone. */
  get isToldOf(): boolean {
    return this.#told;
  }

  set(hasClients: boolean): void {
    this.#hasClients = hasClients;
    this.#look();
  }

  /** Tells it again to another producer. */
  renew(): void {
    this.#told = false;
    this.#look();
  }

  /** Says no more, as if nothing had been said. */
  stop(): void {
    this.#wheel.cancel(this.#next);
    this.#hasClients = false;
    this.#told = false;
  }

  #look(): void {
    this.#wheel.cancel(this.#next);
    const hasChanged = this.#hasClients !== this.#told;
    if (!hasChanged && !this.#hasClients) {
      return;
    }
    const waitMs = this.#toldAt + (hasChanged ? LEAST_MS : this.#presenceMs) - this.#wheel.now();
    if (waitMs > 0) {
      this.#next = this.#wheel.schedule(waitMs, () => this.#look());
      return;
    }
    this.#told = this.#hasClients;
    this.#toldAt = this.#wheel.now();
    this.#tell(this.#hasClients);
    this.#look();
  }
}
