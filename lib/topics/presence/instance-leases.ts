import type { Deadline, DeadlineWheel } from '../../time/index.js';

/** Another instance with members. */
interface Lease {
  /** When its last record came, by the clock of this process. */
  lastAt: number;
  /** It has said that it closes. */
  isGone: boolean;
  /** It is silent, or gone. Its members leave then. */
  leaving: Deadline | undefined;
}

// At random: instances that see the same silence write it at different times, so that mostly one does.
const SPREAD_SHARE = 0.1;
const MAX_SPREAD_MS = 1_000;

/**
 * Leases of the other instances: each writes a record every quarter of the lease. The time counts only while this
 * process is in contact with the log: while its own records do not come back, the silence of the others says nothing.
 */
export class InstanceLeases {
  readonly #leaseMs: number;
  readonly #graceMs: number;
  readonly #wheel: DeadlineWheel;
  readonly #onExpired: (by: string) => void;
  readonly #leases = new Map<string, Lease>();
  /** When the last record of this process that came back was appended. */
  #contactAt = -Infinity;

  /** @param onExpired - called when the members of an instance are to leave. It may be called again */
  constructor(
    settings: { readonly leaseMs: number; readonly graceMs: number },
    wheel: DeadlineWheel,
    onExpired: (by: string) => void,
  ) {
    this.#leaseMs = settings.leaseMs;
    this.#graceMs = settings.graceMs;
    this.#wheel = wheel;
    this.#onExpired = onExpired;
  }

  /** Whether a record of this process has come back within the time of a lease. */
  get isInContact(): boolean {
    return this.#wheel.now() - this.#contactAt < this.#leaseMs;
  }

  /** An instance has written a record. */
  renew(by: string): void {
    const lease = this.#leases.get(by);
    if (!lease) {
      this.#leases.set(by, { lastAt: this.#wheel.now(), isGone: false, leaving: undefined });
      return;
    }
    lease.lastAt = this.#wheel.now();
    lease.isGone = false;
    this.#stay(lease);
  }

  /** An instance closes. Its clients may come back to others. */
  part(by: string): void {
    const lease = this.#leases.get(by);
    if (lease) {
      lease.isGone = true;
      this.#leave(by, lease);
    }
  }

  /** The members of an instance have left. */
  delete(by: string): void {
    this.#wheel.cancel(this.#leases.get(by)?.leaving);
    this.#leases.delete(by);
  }

  /** The log was followed again: it may be long ago that others could write. */
  restart(): void {
    this.#contactAt = this.#wheel.now();
    for (const lease of this.#leases.values()) {
      lease.lastAt = this.#contactAt;
      if (!lease.isGone) {
        this.#stay(lease);
      }
    }
  }

  /**
   * A record of this process has come back: all that others wrote before it was received.
   *
   * @param at - when its append began
   */
  onContact(at: number): void {
    if (at - this.#contactAt > this.#leaseMs / 2) {
      // The log was away, or this process stood still.
      this.restart();
      return;
    }
    this.#contactAt = Math.max(this.#contactAt, at);
    for (const [by, lease] of this.#leases) {
      if (at - lease.lastAt >= 0.75 * this.#leaseMs) {
        this.#leave(by, lease);
      }
    }
  }

  close(): void {
    this.#leases.forEach((lease) => this.#stay(lease));
    this.#leases.clear();
  }

  #leave(by: string, lease: Lease): void {
    const spreadMs = Math.min(MAX_SPREAD_MS, this.#leaseMs * SPREAD_SHARE) * Math.random();
    lease.leaving ??= this.#wheel.schedule(this.#graceMs + spreadMs, () => {
      lease.leaving = undefined;
      this.#onExpired(by);
    });
  }

  #stay(lease: Lease): void {
    this.#wheel.cancel(lease.leaving);
    lease.leaving = undefined;
  }
}
