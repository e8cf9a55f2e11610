import type { Deadline } from '../time/index.js';
import type { Limits } from './limits.js';

/** A client for which the log is read. */
export interface ReplayedClient {
  readonly keys: readonly string[];
  schedule(delayMs: number, expire: (subject: undefined) => void, subject: undefined): Deadline;
  cancel(deadline: Deadline | undefined): void;
}

/** The reads of the log below the ring for one client: within the budget of its keys, and each in its turn. */
export class ReplayReads {
  readonly #client: ReplayedClient;
  readonly #limits: Limits;
  readonly #pageEvents: number;
  /** Ends the wait for the budget; undefined while there is none. */
  #endWait: (() => void) | undefined;

  /** @param pageEvents - the most events of a page */
  constructor(client: ReplayedClient, limits: Limits, pageEvents: number) {
    this.#client = client;
    this.#limits = limits;
    this.#pageEvents = pageEvents;
  }

  /**
   * Reads the next page, and charges its events to the keys.
   *
   * @param read - reads the page; undefined if the client does not need it any more
   * @returns what `read` returned; `'limit'` if the budget of a key is used up for a while
   */
  async next<Page extends { events: readonly unknown[] }>(
    read: () => Promise<Page> | undefined,
  ): Promise<Page | 'limit' | undefined> {
    const { keys } = this.#client;
    // Before the wait: clients of one key that wait at once must not count on the same events.
    const waitMs = this.#limits.reserveReplay(keys, this.#pageEvents);
    if (waitMs === undefined) {
      return 'limit';
    }
    let events = 0;
    try {
      if (waitMs > 0) {
        await this.#wait(waitMs);
      }
      const page = await this.#limits.replays.run(async () => read());
      events = page?.events.length ?? 0;
      return page;
    } finally {
      this.#limits.giveBackReplay(keys, this.#pageEvents - events);
    }
  }

  /** The client has left: ends its wait. */
  stop(): void {
    this.#endWait?.();
  }

  #wait(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const deadline = this.#client.schedule(ms, () => this.#endWait?.(), undefined);
      this.#endWait = () => {
        this.#endWait = undefined;
        this.#client.cancel(deadline);
        resolve();
      };
    });
  }
}
