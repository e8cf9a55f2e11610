import type { Deadline, DeadlineWheel } from '../../time/index.js';

// The least time between two notices. Clients that come and go quickly would fill the log with them.
const LEAST_MS = 500;

/** Tells the producer of a run on another instance whether the run has clients here: at each change, and regularly. */
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

  /** Whether the last notice told the producer that the run has clients here. */
  get isAnnounced(): boolean {
    return this.#notified;
  }

  set(hasClients: boolean): void {
    this.#hasClients = hasClients;
    this.#check();
  }

  /** Tells a new producer, which knows nothing of the clients here. */
  renew(): void {
    this.#notified = false;
    this.#check();
  }

  /** Stops the notices, and forgets which were sent. */
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
