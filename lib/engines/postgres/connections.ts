import { optionalPeer } from '../index.js';
import type { OpenConnection } from '../index.js';
import { show, SseError } from '../../errors/index.js';
import type { PostgresPool } from './options.js';

/** A row, with each column as text, or null. */
export type PostgresRow = Readonly<Record<string, string | null>>;

/** One connection to PostgreSQL. It is opened once, and not again after it is lost: see `PostgresLink`. */
export interface PostgresConnection {
  /** Whether it has a session of its own. Without one it cannot listen, and statements may come between others. */
  readonly isSession: boolean;
  /** Whether it was lost while it was idle. */
  readonly isLost: boolean;
  /** Sends a statement. Statements are carried out in the order of the calls. */
  query(text: string, params?: readonly string[]): Promise<readonly PostgresRow[]>;
  /** Sets the function that is called for each notification, and when the connection is lost. */
  onNotification(listener: (payload: string | undefined) => void): void;
  destroy(): void;
}

/** A client of `pg`, by shape: the app may have another copy of the library. */
interface PgClient {
  connect(): Promise<unknown>;
  query(config: object): Promise<{ rows: PostgresRow[] }>;
  end(): Promise<unknown>;
  on(event: 'error' | 'end', listener: () => void): unknown;
  on(event: 'notification', listener: (message: { payload?: string }) => void): unknown;
  readonly connection?: { readonly stream?: { destroy(): void } };
}

type PgClientClass = new (config: object | string) => PgClient;

/** A Pool of `pg`: it has the class of its clients, and their options. */
interface PgPool extends PostgresPool {
  readonly Client: PgClientClass;
  readonly options: object & { host?: string; port?: number; connectionString?: string };
}

/** In how many milliseconds a connection must close before it is destroyed. */
const END_MS = 100;
/** Values as PostgreSQL writes them: the app may have set parsers of its own. */
const AS_TEXT = { getTypeParser: () => (value: unknown) => value };
// Keep-alive finds a peer that is gone, also if no statement is under way. Time limits are the link's.
const OWN = { keepAlive: true, query_timeout: undefined, statement_timeout: undefined };

/** Makes connections of the app's pool: with its options, or through it. */
export function connectionsOf(pool: PostgresPool): OpenConnection<PostgresConnection> {
  if (!isPgPool(pool)) {
    const connection = new QueryConnection(pool);
    return () => Promise.resolve(connection);
  }
  const { Client, options } = pool;
  const open = (abandoned: AbortSignal) => openClient(new Client(own(options)), abandoned);
  const { connectionString, host, port = 5432 } = options;
  return Object.assign(open, {
    server: connectionString === undefined ? host && `${host}:${port}` : hostOf(connectionString),
  });
}

export function connectionsTo(url: string): OpenConnection<PostgresConnection> {
  const open = async (abandoned: AbortSignal) => {
    const Client = await clientClass();
    return openClient(new Client(own({ connectionString: url })), abandoned);
  };
  return Object.assign(open, { server: hostOf(url) });
}

function isPgPool(pool: PostgresPool): pool is PgPool {
  const { Client, options } = pool as Partial<PgPool>;
  return typeof Client === 'function' && typeof options === 'object' && options !== null;
}

/** Returns options for a connection of ours. The password of a pool's options is no enumerable field. */
function own(options: { password?: unknown; connectionString?: string }): object {
  return { ...options, ...(options.password !== undefined && { password: options.password }), ...OWN };
}

async function clientClass(): Promise<PgClientClass> {
  const pg = (await optionalPeer('pg')) as { Client?: PgClientClass; default?: { Client: PgClientClass } };
  const Client = pg?.Client ?? pg?.default?.Client;
  if (Client) {
    return Client;
  }
  throw new SseError(
    'options-invalid',
    'postgres({ url }) needs the client library pg, and it is not installed. Run: npm install pg. A bundler does not ' +
      'pack it, since it is named at run time alone: in a bundle, import it yourself and hand over its pool: ' +
      'postgres({ pool: new Pool({ connectionString: url }) }).',
    { field: 'url' },
  );
}

async function openClient(client: PgClient, abandoned: AbortSignal): Promise<PostgresConnection> {
  const connection = new ClientConnection(client);
  abandoned.throwIfAborted();
  const abandon = () => connection.destroy();
  abandoned.addEventListener('abort', abandon);
  try {
    await client.connect();
    return connection;
  } catch (error) {
    connection.destroy();
    throw error;
  } finally {
    abandoned.removeEventListener('abort', abandon);
  }
}

/** A client of `pg`. */
class ClientConnection implements PostgresConnection {
  readonly isSession = true;
  readonly #client: PgClient;
  #isLost = false;
  #isDestroyed = false;
  /** The statement that was sent last, or waits to be sent. */
  #last: Promise<unknown> = Promise.resolve();
  #listener: (payload: string | undefined) => void = () => undefined;

  constructor(client: PgClient) {
    this.#client = client;
    const onLost = () => {
      this.#isLost = true;
      this.#listener(undefined);
    };
    // Without a listener an 'error' event crashes the process.
    client.on('error', onLost);
    client.on('end', onLost);
    client.on('notification', ({ payload }) => this.#listener(payload));
  }

  get isLost(): boolean {
    return this.#isLost;
  }

  query(text: string, params?: readonly string[]): Promise<readonly PostgresRow[]> {
    // Version 8 of pg warns of a statement that is sent while others wait; version 9 has no queue of its own.
    const send = () => this.#send(text, params);
    const answer = this.#last.then(send, send);
    this.#last = answer;
    return answer;
  }

  async #send(text: string, params: readonly string[] | undefined): Promise<readonly PostgresRow[]> {
    // Without values several statements can be sent at once.
    const values = params && { values: [...params] };
    return (await this.#client.query({ text, ...values, types: AS_TEXT })).rows;
  }

  onNotification(listener: (payload: string | undefined) => void): void {
    this.#listener = listener;
  }

  destroy(): void {
    if (this.#isDestroyed) {
      return;
    }
    this.#isDestroyed = true;
    this.#listener = () => undefined;
    const stream = this.#client.connection?.stream;
    // The goodbye of a connection whose peer is silent never ends, and keeps the process alive.
    const timer = setTimeout(() => stream?.destroy(), END_MS);
    const end = () => clearTimeout(timer);
    // The connection is not used any more, so its failure changes nothing.
    this.#client.end().then(end, end);
  }
}

/** The app's own function. It has no connection that could be lost. */
class QueryConnection implements PostgresConnection {
  readonly isSession = false;
  readonly isLost = false;
  readonly #pool: PostgresPool;

  constructor(pool: PostgresPool) {
    this.#pool = pool;
  }

  async query(text: string, params: readonly string[] = []): Promise<readonly PostgresRow[]> {
    const result: unknown = await this.#pool.query(text, [...params]);
    const rows = Array.isArray(result) ? result : (result as { rows?: unknown } | undefined)?.rows;
    if (!Array.isArray(rows)) {
      throw new SseError(
        'options-invalid',
        `query() of the pool of postgres() must resolve with rows, or with an object with rows, got ${show(result)}.`,
        { field: 'pool' },
      );
    }
    return rows as PostgresRow[];
  }

  onNotification(): void {
    // It cannot listen.
  }

  destroy(): void {
    // It is the app's.
  }
}

/** Returns the server without the password of its URL. */
function hostOf(url: string): string | undefined {
  return URL.canParse(url) ? new URL(url).host || undefined : undefined;
}
