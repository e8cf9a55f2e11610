import type { AppendLease, LeaseKeeper } from '../index.js';
import type { RedisLink } from './link.js';
import { KEEP_LEASE } from './scripts.js';

/** Keeps the leases of this process on Redis. */
export class RedisLeaseKeeper implements LeaseKeeper {
  readonly #link: RedisLink;

  constructor(link: RedisLink) {
    this.#link = link;
  }

  async renew({ key, token }: AppendLease, ttlMs: number, leftMs: number): Promise<'kept' | 'lost' | 'late'> {
    const isKept = await this.#link.runBefore(
      KEEP_LEASE,
      [key],
      (deadline) => [String(token), String(ttlMs), deadline],
      { leftMs },
    );
    if (isKept === -1) {
      this.#link.forgetClock();
      return 'late';
    }
    return isKept === 1 ? 'kept' : 'lost';
  }

  async giveBack({ key, token }: AppendLease): Promise<void> {
    await this.#link.run(KEEP_LEASE, [key], [String(token), '0', '']);
  }
}
