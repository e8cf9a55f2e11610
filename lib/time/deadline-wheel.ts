import { MAX_TIMER_MS } from '../errors/index.js';

/** A call at a later time. It is called once, unless it is cancelled. */
export interface Deadline {
  /** The function to call. It shares a turn of the timer with the deadlines of all other clients. */
  readonly expire: (subject: unknown) => void;
  /** The argument of the call, so that a million deadlines can share one function. */
  readonly subject: unknown;
  /** The time, in milliseconds of the wheel's clock. */
  readonly at: number;
  /** All deadlines with that time. */
  readonly slot: Set<Deadline>;
}

/**
 * One timer for all heartbeats and time limits of an app. A deadline is called at its time, or late by at most a
 * fiftieth of its delay (at least 20 ms). Longer delays have coarser slots, so that the timer wakes seldom and checks
 * few slots.
 */
export class DeadlineWheel {
  readonly #slots = new Map<number, Set<Deadline>>();
  #timer: NodeJS.Timeout | undefined;
  #armedFor = Infinity;
  readonly #onError: (error: unknown) => void;

  /** @param onError - receives the error of a deadline. The other deadlines are called all the same */
  constructor(onError: (error: unknown) => void = throwLater) {
    this.#onError = onError;
  }

  /** See {@link now}. */
  now(): number {
    return now();
  }

  /** The number of pending deadlines. */
  get size(): number {
    let size = 0;
    for (const slot of this.#slots.values()) {
      size += slot.size;
    }
    return size;
  }

  schedule(delayMs: number, expire: () => void): Deadline;
  schedule<S>(delayMs: number, expire: (subject: S) => void, subject: S): Deadline;
  schedule(delayMs: number, expire: (subject: never) => void, subject?: unknown): Deadline {
    const slotMs = Math.max(20, Math.floor(delayMs / 50));
    const at = Math.ceil((this.now() + delayMs) / slotMs) * slotMs;
    let slot = this.#slots.get(at);
    if (!slot) {
      slot = new Set();
      this.#slots.set(at, slot);
    }
    const deadline: Deadline = { expire: expire as Deadline['expire'], subject, at, slot };
    slot.add(deadline);
    if (at < this.#armedFor) {
      this.#arm(at);
    }
    return deadline;
  }

  cancel(deadline: Deadline | undefined): void {
    // The deadline knows its slot. A look-up in the map would miss it: during a turn, the slot is no longer there.
    if (!deadline?.slot.delete(deadline) || deadline.slot.size > 0) {
      return;
    }
    if (this.#slots.get(deadline.at) === deadline.slot) {
      this.#slots.delete(deadline.at);
    }
    if (this.#slots.size === 0) {
      this.#disarm();
    }
  }

  #arm(at: number): void {
    this.#disarm();
    this.#armedFor = at;
    const delayMs = Math.max(0, Math.ceil(at - this.now()));
    this.#timer = setTimeout(() => this.#turn(), Math.min(delayMs, MAX_TIMER_MS));
    // Open sockets keep the process alive; a heartbeat alone must not.
    this.#timer.unref();
  }

  #disarm(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#armedFor = Infinity;
  }

  #turn(): void {
    this.#disarm();
    const now = this.now();
    for (const [at, slot] of this.#slots) {
      if (at <= now) {
        this.#slots.delete(at);
        this.#expire(slot);
      }
    }
    let next = Infinity;
    for (const at of this.#slots.keys()) {
      next = Math.min(next, at);
    }
    if (next < this.#armedFor) {
      this.#arm(next);
    }
  }

  #expire(slot: Set<Deadline>): void {
    for (const deadline of slot) {
      slot.delete(deadline);
      try {
        deadline.expire(deadline.subject);
      } catch (error) {
        this.#onError(error);
      }
    }
  }
}

function throwLater(error: unknown): void {
  setImmediate(() => {
    throw error;
  });
}

/** Returns the time of a clock that never goes back, in whole milliseconds: V8 allocates nothing for small integers. */
export function now(): number {
  return Math.floor(performance.now());
}
