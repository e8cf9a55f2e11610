import type { PostgresLink } from './link.js';

/**
 * Notifies the other instances of new events, in a transaction of its own after the one that appends: PostgreSQL locks
 * all notifications of the database until the transaction is on disk.
 */
export class Notifier {
  readonly #link: PostgresLink;
  readonly #channel: string;
  readonly #ids = new Set<string>();
  #isNotifying = false;

  constructor(link: PostgresLink, channel: string) {
    this.#link = link;
    this.#channel = channel;
  }

  /** @param id - the log that has new events */
  notify(id: string): void {
    this.#ids.add(id);
    if (!this.#isNotifying) {
      this.#isNotifying = true;
      void this.#run();
    }
  }

  async #run(): Promise<void> {
    while (this.#ids.size > 0) {
      const ids = [...this.#ids];
      this.#ids.clear();
      const connection = this.#link.current;
      if (!connection) {
        break;
      }
      const text = 'select pg_notify($1::text, id) from json_array_elements_text($2::text::json) as t (id)';
      try {
        await this.#link.queryOn(connection, text, [this.#channel, JSON.stringify(ids)], 'pg_notify');
      } catch {
        // The other instances read the log once a second. What is wrong with the connection, the watch reports.
        break;
      }
    }
    this.#isNotifying = false;
  }
}
