import type { Reporter } from '../../errors/index.js';
import type { EventLogStore, Lease } from '../../log/index.js';

/**
 * Takes the lease of a run. It lasts ¾ `leaseMs`: with the time until an instance checks, a producer that is gone is
 * noticed within `leaseMs`.
 *
 * @returns undefined if another holds it
 * @throws SseError `log-unavailable`, `closed`
 */
export function takeLease(store: EventLogStore, name: string, leaseMs: number): Promise<Lease | undefined> {
  return store.lease(name, { ttlMs: (leaseMs * 3) / 4 });
}

/** Releases a lease. It never rejects: a lease that cannot be released runs out by itself. */
export async function releaseLease(lease: Lease, reporter: Reporter): Promise<void> {
  try {
    await lease.release();
  } catch (error) {
    reporter.debug(`A run's lease could not be given back: ${String(error)}`);
  }
}
