import type { PostgresLink } from './link.js';

/**
 * Notifies the other instances of new events, in a transaction of its own after the one that appends: PostgreSQL locks
 * all notifications of the database until the transaction is on disk.
 */
export class Notifier {
  readonly #link: PostgresLink;
  readonly #channel: string;
  readonly #sender: string;
  readonly #ids = new Set<string>();
  #isNotifying = false;

  /** @param options.sender - the name of this process, which knows of its own events without a notification */
  constructor(link: PostgresLink, options: { channel: string; sender: string }) {
    this.#link = link;
    this.#channel = options.channel;
    this.#sender = options.sender;
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
      const payloads = JSON.stringify(ids.map((id) => `${id} ${this.#sender}`));
      const text = 'select pg_notify($1::text, p) from json_array_elements_text($2::text::json) as t (p)';
      try {
        await this.#link.queryOn(connection, text, [this.#channel, payloads], 'pg_notify');
      } catch {
        // The other instances read the log once a second. What is wrong with the connection, the watch reports.
        break;
      }
    }
    this.#isNotifying = false;
  }
}
