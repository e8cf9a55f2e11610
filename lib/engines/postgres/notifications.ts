import { randomUUID } from 'node:crypto';
import type { EngineContext } from '../../log/index.js';
import type { PostgresConnection } from './connections.js';
import type { PostgresLink } from './link.js';

/** Within this time a notification of this process must arrive. */
const PROBE_MS = 2_000;

/**
 * Listens on a connection, and finds out whether notifications arrive. A pooler of transactions accepts `listen`, and
 * passes a notification on only if the connection has a statement under way. So the probe is sent by another connection.
 */
export class Notifications {
  readonly #link: PostgresLink;
  readonly #channel: string;
  readonly #sender: string;
  readonly #engine: EngineContext;
  readonly #hasListenUrl: boolean;
  readonly #notifying: PostgresLink;
  #hasWarned = false;

  /**
   * @param link - of the connection that listens
   * @param options.notifying - the connection by which the probe is sent
   */
  constructor(
    link: PostgresLink,
    options: {
      notifying: PostgresLink;
      channel: string;
      sender: string;
      engine: EngineContext;
      hasListenUrl: boolean;
    },
  ) {
    this.#link = link;
    this.#notifying = options.notifying;
    this.#channel = options.channel;
    this.#sender = options.sender;
    this.#engine = options.engine;
    this.#hasListenUrl = options.hasListenUrl;
  }

  /**
   * Calls back with the id of the log for each notification of another process, and without one when the connection is
   * lost.
   *
   * @returns whether notifications arrive on this connection
   */
  async listen(connection: PostgresConnection, onNotification: (id?: string) => void): Promise<boolean> {
    const arrives = connection.isSession && (await this.#probe(connection, onNotification));
    if (!arrives && !this.#hasWarned) {
      this.#hasWarned = true;
      this.#engine.warn(this.#warning(connection));
    }
    return arrives;
  }

  async #probe(connection: PostgresConnection, onNotification: (id?: string) => void): Promise<boolean> {
    const token = randomUUID();
    let arrive: () => void = () => undefined;
    let hasArrived = false;
    const arrived = new Promise<void>((resolve) => (arrive = resolve));
    connection.onNotification((payload) => {
      const [id, sender] = payload?.split(' ') ?? [];
      if (payload === token) {
        hasArrived = true;
        arrive();
      } else if (sender !== this.#sender) {
        onNotification(id);
      }
    });
    await this.#link.queryOn(connection, `listen "${this.#channel}"`, undefined, 'listen');
    await this.#notify(token);
    await Promise.race([arrived, hasArrived ? undefined : this.#link.pause(PROBE_MS)]);
    if (!hasArrived) {
      await this.#link.queryOn(connection, `unlisten "${this.#channel}"`, undefined, 'unlisten');
    }
    return hasArrived;
  }

  async #notify(token: string): Promise<void> {
    const text = 'select pg_notify($1::text, $2::text)';
    const connection = await this.#notifying.connection();
    await this.#notifying.queryOn(connection, text, [this.#channel, token], 'pg_notify');
  }

  #warning({ isSession }: PostgresConnection): string {
    const what = isSession
      ? 'no notification arrives on this connection, as behind a pooler that pools transactions'
      : 'its pool is an object with query(), which cannot listen';
    const cure = this.#hasListenUrl
      ? 'listenUrl must lead to the server itself, or to a pooler that pools sessions'
      : 'Give the URL of the server itself as listenUrl, and events come at once';
    return `PostgreSQL: ${what}, so the log is read every pollMs. ${cure}.`;
  }
}
