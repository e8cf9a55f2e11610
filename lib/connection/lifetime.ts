import type { Deadline, DeadlineWheel } from '../time/index.js';
import type { ConnectionSettings } from './response-host.js';

/** How long a client may take to read what it has been sent, in milliseconds: a burst, or the end of its stream. */
export const LINGER_MS = 30_000;
/**
 * A response is closed up to 10% before `maxConnectionMs`, at random: before a proxy's own limit, and so that clients
 * that connected together do not reconnect together.
 */
const ROTATION_JITTER = 0.1;

/**
 * The limit of a response's present phase: of its lifetime while it is open, of the time to flush once it is closed.
 * There is one at a time.
 */
export class Lifetime {
  readonly #wheel: DeadlineWheel;
  readonly #expire: () => void;
  #limit: Deadline | undefined;
  /** When `maxConnectionMs` is over, by the wheel's clock. */
  readonly #rotatesAt: number;
  #expiresAt: Date | undefined;

  /** @param expire - called when the response has lived as long as it may */
  constructor(settings: ConnectionSettings, wheel: DeadlineWheel, expire: () => void) {
    this.#wheel = wheel;
    this.#expire = expire;
    this.#rotatesAt = wheel.now() + rotationOf(settings);
    this.#expiresAt = settings.expiresAt;
  }

  /** Begins the lifetime. */
  start(): void {
    const leftMs = Math.min(this.#rotatesAt - this.#wheel.now(), leftUntil(this.#expiresAt));
    this.cancel();
    if (leftMs !== Infinity) {
      this.#limit = this.#wheel.schedule(Math.max(0, leftMs), this.#expire);
    }
  }

  /** Moves the moment at which the client's right ends. */
  renew(expiresAt: Date): void {
    this.#expiresAt = expiresAt;
    this.start();
  }

  /** Sets another limit in place of the present one. */
  set(delayMs: number, expire: () => void): void {
    this.cancel();
    this.#limit = this.#wheel.schedule(delayMs, expire);
  }

  cancel(): void {
    this.#wheel.cancel(this.#limit);
  }
}

/** Returns after how many milliseconds a response is rotated; Infinity if never. */
function rotationOf({ maxConnectionMs = Infinity }: ConnectionSettings): number {
  return maxConnectionMs * (1 - Math.random() * ROTATION_JITTER);
}

/** Returns the milliseconds until a time, 0 or more; Infinity if there is none. */
function leftUntil(expiresAt: Date | undefined): number {
  return expiresAt ? Math.max(0, expiresAt.getTime() - Date.now()) : Infinity;
}
