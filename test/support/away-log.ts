import { SseError } from 'nestjs-event-stream';
import { memory } from '../../lib/log/index.js';
import type { EventLog, EventLogStore } from '../../lib/log/index.js';

/** A log in memory whose engine a test can take away and bring back. */
export class AwayLog implements EventLogStore {
  readonly #store: EventLogStore = memory()();
  readonly log = this.#fallible(this.#store.log);
  /** What every call fails with, as an engine's does that cannot be reached. */
  isAway = false;
  isShared = false;

  get health() {
    return this.#store.health;
  }

  async open(name: string, options: Parameters<EventLogStore['open']>[1]): Promise<EventLog> {
    this.#refuseIfAway('log-unavailable');
    return this.#fallible(await this.#store.open(name, options));
  }

  async find(name: string, page: { from: number; limit: number }) {
    this.#refuseIfAway('log-unavailable');
    const found = await this.#store.find(name, page);
    return found && { ...found, log: this.#fallible(found.log) };
  }

  async lease(name: string, options: { ttlMs: number }) {
    this.#refuseIfAway('log-unavailable');
    return this.#store.lease(name, options);
  }

  close(): Promise<void> {
    return this.#store.close();
  }

  #fallible(log: EventLog): EventLog {
    return {
      append: async (records, options) => {
        this.#refuseIfAway('publish-failed');
        return log.append(records, options);
      },
      page: async (from, limit) => {
        this.#refuseIfAway('log-unavailable');
        return log.page(from, limit);
      },
      head: async () => {
        this.#refuseIfAway('log-unavailable');
        return log.head();
      },
      follow: async (listener, options) => {
        this.#refuseIfAway('log-unavailable');
        return log.follow(listener, options);
      },
    };
  }

  #refuseIfAway(code: 'publish-failed' | 'log-unavailable'): void {
    if (this.isAway) {
      throw new SseError(code, 'redis://user:password@host is away', { isOutcomeKnown: false });
    }
  }
}
