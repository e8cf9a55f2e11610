import type { Deadline, DeadlineWheel } from '../../time/index.js';

// Clients that come and go in a hurry would otherwise fill the log with the word of it.
const LEAST_MS = 500;

/** Says to whoever makes a run elsewhere whether it has clients here: at each change, and again while it has. */
export class RunPresence {
  readonly #wheel: DeadlineWheel;
  readonly #presenceMs: number;
  readonly #notify: (hasClients: boolean) => void;
  #hasClients = false;
  #notified = false;
  #notifiedAt = -Infinity;
  #next: Deadline | undefined;

  constructor(wheel: DeadlineWheel, presenceMs: number, notify: (hasClients: boolean) => void) {
    this.#wheel = wheel;
    this.#presenceMs = presenceMs;
    this.#notify = notify;
  }

  /** Whether the other side has been told of clients, and not yet that they are gone. */
  get isAnnounced(): boolean {
    return this.#notified;
  }

  set(hasClients: boolean): void {
    this.#hasClients = hasClients;
    this.#check();
  }

  /** Tells it again to another producer. */
  renew(): void {
    this.#notified = false;
    this.#check();
  }

  /** Says no more, as if nothing had been said. */
  stop(): void {
    this.#wheel.cancel(this.#next);
    this.#hasClients = false;
    this.#notified = false;
  }

  #check(): void {
    this.#wheel.cancel(this.#next);
    const hasChanged = this.#hasClients !== this.#notified;
    if (!hasChanged && !this.#hasClients) {
      return;
    }
    const waitMs = this.#notifiedAt + (hasChanged ? LEAST_MS : this.#presenceMs) - this.#wheel.now();
    if (waitMs > 0) {
      this.#next = this.#wheel.schedule(waitMs, () => this.#check());
      return;
    }
    this.#notified = this.#hasClients;
    this.#notifiedAt = this.#wheel.now();
    this.#notify(this.#hasClients);
    this.#check();
  }
}
