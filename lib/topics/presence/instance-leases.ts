import type { Deadline, DeadlineWheel } from '../../time/index.js';

/** Another instance with members. */
interface Lease {
  /** When its last record came, by the clock of this process. */
  lastAt: number;
  /** It has said that it closes. */
  isGone: boolean;
  /** It is silent, or gone: the end of its grace. */
  grace: Deadline | undefined;
  /** When its grace ended; undefined before that. */
  dueAt: number | undefined;
}

// At random: instances that see the same silence write it at different times, so that mostly one does.
const SPREAD_SHARE = 0.1;
const MAX_SPREAD_MS = 1_000;
// A record that comes back later than this, and than a quarter of the lease, was held up by a log that was away.
const SLOW_MS = 1_000;

/**
 * Leases of the other instances: each writes a record every quarter of the lease. The time counts only while this
 * process is in contact with the log: while its own records do not come back, the silence of the others says nothing.
 * The grace counts only then, too: members who came back to another instance are not known before that can write.
 */
export class InstanceLeases {
  readonly #leaseMs: number;
  readonly #graceMs: number;
  readonly #wheel: DeadlineWheel;
  readonly #onGraceOver: () => void;
  readonly #leases = new Map<string, Lease>();
  /** When the last record of this process that came back was appended. */
  #contactAt = -Infinity;
  /** When this process last noticed that the log was away, until it is back. */
  #awayAt: number | undefined;

  /** @param onGraceOver - called when the next contact is to show whether the log was there all the time */
  constructor(
    settings: { readonly leaseMs: number; readonly graceMs: number },
    wheel: DeadlineWheel,
    onGraceOver: () => void,
  ) {
    this.#leaseMs = settings.leaseMs;
    this.#graceMs = settings.graceMs;
    this.#wheel = wheel;
    this.#onGraceOver = onGraceOver;
  }

  /** Whether a record of this process has come back within the time of a lease. */
  get isInContact(): boolean {
    return this.#wheel.now() - this.#contactAt < this.#leaseMs;
  }

  /** An instance has written a record. */
  renew(by: string): void {
    const lease = this.#leases.get(by);
    if (!lease) {
      const lastAt = this.#wheel.now();
      this.#leases.set(by, { lastAt, isGone: false, grace: undefined, dueAt: undefined });
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
      this.#leave(lease);
    }
  }

  /** The members of an instance have left. */
  delete(by: string): void {
    this.#wheel.cancel(this.#leases.get(by)?.grace);
    this.#leases.delete(by);
  }

  /** The log was followed again: it may be long ago that others could write. */
  restart(): void {
    this.#contactAt = this.#wheel.now();
    this.#awayAt = undefined;
    for (const lease of this.#leases.values()) {
      lease.lastAt = this.#contactAt;
      this.#stay(lease);
      if (lease.isGone) {
        this.#leave(lease);
      }
    }
  }

  /** This process could not write to the log. The others may have failed as well. */
  onAway(): void {
    this.#awayAt = this.#wheel.now();
  }

  /**
   * A record of this process has come back: all that others wrote before it was received.
   *
   * @param at - when its append began
   * @returns the instances whose members are to leave, until they are deleted
   */
  onContact(at: number): string[] {
    if (at <= (this.#awayAt ?? -Infinity)) {
      return [];
    }
    const wasSlow = this.#wheel.now() - at > Math.max(SLOW_MS, this.#leaseMs / 4);
    if (this.#awayAt !== undefined || wasSlow || at - this.#contactAt > this.#leaseMs / 2) {
      // The log was away, or this process stood still.
      this.restart();
      return [];
    }
    this.#contactAt = Math.max(this.#contactAt, at);
    const expired: string[] = [];
    for (const [by, lease] of this.#leases) {
      if (at >= (lease.dueAt ?? Infinity)) {
        expired.push(by);
      } else if (at - lease.lastAt >= 0.75 * this.#leaseMs) {
        this.#leave(lease);
      }
    }
    return expired;
  }

  close(): void {
    this.#leases.forEach((lease) => this.#stay(lease));
    this.#leases.clear();
  }

  /** Begins the grace, unless it has begun. */
  #leave(lease: Lease): void {
    if (lease.grace || lease.dueAt !== undefined) {
      return;
    }
    const spreadMs = Math.min(MAX_SPREAD_MS, this.#leaseMs * SPREAD_SHARE) * Math.random();
    lease.grace = this.#wheel.schedule(this.#graceMs + spreadMs, () => {
      lease.grace = undefined;
      lease.dueAt = this.#wheel.now();
      this.#onGraceOver();
    });
  }

  #stay(lease: Lease): void {
    this.#wheel.cancel(lease.grace);
    lease.grace = undefined;
    lease.dueAt = undefined;
  }
}
