import type { AppendLease, LeaseKeeper } from '../index.js';
import type { PostgresLink } from './link.js';

/** Keeps the leases of this process on PostgreSQL. */
export class PostgresLeaseKeeper implements LeaseKeeper {
  readonly #link: PostgresLink;
  readonly #log: string;

  constructor(link: PostgresLink, log: string) {
    this.#link = link;
    this.#log = log;
  }

  async renew({ key, token }: AppendLease, ttlMs: number, leftMs: number): Promise<'kept' | 'lost' | 'late'> {
    const reply = await this.#link.callBefore(
      'keep_lease',
      (deadline) => [this.#log, key, String(token), String(ttlMs), deadline],
      { leftMs },
    );
    if (reply === '-') {
      this.#link.forgetClock();
      return 'late';
    }
    return reply === '1' ? 'kept' : 'lost';
  }

  async giveBack({ key, token }: AppendLease): Promise<void> {
    await this.#link.call('keep_lease', [this.#log, key, String(token), '0', '']);
  }
}
