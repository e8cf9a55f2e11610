import type { EventStreamResponse } from '../connection/index.js';
import type { Limits } from '../limits/index.js';
import { BLOCK_EVENTS } from '../log/index.js';
import type { EventPage } from '../log/index.js';

/** The reads of the log below the ring for one client: within the budget of its keys, and each in its turn. */
export class ReplayReads {
  readonly #connection: EventStreamResponse;
  readonly #limits: Limits;
  /** Ends the wait for the budget; undefined while there is none. */
  #endWait: (() => void) | undefined;

  constructor(connection: EventStreamResponse, limits: Limits) {
    this.#connection = connection;
    this.#limits = limits;
  }

  /**
   * Reads the next page, and charges its events to the keys.
   *
   * @param read - reads the page; undefined if the client does not need it any more
   * @returns what `read` returned; `'limit'` if the budget of a key is used up for a while
   */
  async next(read: () => Promise<EventPage> | undefined): Promise<EventPage | 'limit' | undefined> {
    const { keys } = this.#connection;
    // Before the wait: clients of one key that wait at once must not count on the same events.
    const waitMs = this.#limits.reserveReplay(keys, BLOCK_EVENTS);
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
      this.#limits.giveBackReplay(keys, BLOCK_EVENTS - events);
    }
  }

  /** The client has left: ends its wait. */
  stop(): void {
    this.#endWait?.();
  }

  #wait(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const deadline = this.#connection.schedule(ms, () => this.#endWait?.(), undefined);
      this.#endWait = () => {
        this.#endWait = undefined;
        this.#connection.cancel(deadline);
        resolve();
      };
    });
  }
}
