import { OptionChecks, show } from '../../errors/index.js';

/** An object that runs queries: a Pool of `pg` 8, or a function of the app's own around another library. */
export interface PostgresPool {
  query(text: string, values?: unknown[]): Promise<{ rows: object[] } | object[]>;
}

/** Options of `postgres()`. Give either `pool` or `url`; all others have defaults. */
export interface PostgresLogOptions {
  /**
   * A Pool of `pg` 8, whose options are used: the log opens two connections of its own, takes none of the pool, and
   * closes its own. The app must close the pool.
   *
   * Or an object with `query(sql, params)` that resolves with rows, or with an object with `rows`. It is used as it is.
   * It cannot listen: the log is polled, unless there is a `listenUrl`.
   */
  pool?: PostgresPool;
  /** In place of a pool: `postgres://…`. It needs `pg` to be installed. */
  url?: string;
  /**
   * The URL of the server itself, if `pool` or `url` leads to a pooler that pools transactions, such as PgBouncer: behind
   * one no notification arrives. It is used for the connection that reads.
   */
  listenUrl?: string;
  /**
   * The schema of all tables: 1 to 63 of lower-case letters, digits and `_`, the first one no digit. Several apps or logs
   * can share a schema.
   * @defaultValue `'sse'`
   */
  schema?: string;
  /**
   * The name of the log, for a database with several: 1 to 64 of letters, digits and `_.-`.
   * @defaultValue `'topics'`
   */
  log?: string;
  /**
   * The most events of the log. They are deleted in blocks: it keeps up to a hundred more.
   * @defaultValue 100_000
   */
  maxEvents?: number;
  /**
   * The highest age of an event, in milliseconds. Older events are deleted within about ten seconds.
   * @defaultValue no limit
   */
  maxAgeMs?: number;
  /**
   * How often the log is read if no notification arrives, in milliseconds: behind a pooler, or with a `pool` that cannot
   * listen. With notifications it is read once a second in any case.
   * @defaultValue 200
   */
  pollMs?: number;
  /**
   * How long the app waits for PostgreSQL at start, in milliseconds, before it fails with `log-unavailable`. `Infinity`
   * waits without a limit.
   * @defaultValue 5_000
   */
  startTimeoutMs?: number;
  /**
   * The time in which PostgreSQL must answer a statement or accept a connection, in milliseconds. Past it the connection
   * is replaced.
   * @defaultValue 2_000
   */
  commandTimeoutMs?: number;
  /**
   * The time in which a publish resolves or rejects, with all its retries, in milliseconds.
   * @defaultValue 5_000
   */
  publishTimeoutMs?: number;
  /**
   * The most bytes of events that wait for PostgreSQL in one log of this process. Past it a publish is refused at once.
   * @defaultValue 16 MiB (16_777_216)
   */
  maxPendingBytes?: number;
}

/** Options of `postgresOutbox()`. Give either `pool` or `url`; all others have defaults. */
export interface PostgresOutboxOptions extends PostgresLogOptions {
  /**
   * The name of the outbox, for a database with several: 1 to 64 of letters, digits and `_.-`. All instances of an app
   * have the same one, and no two apps.
   * @defaultValue `'outbox'`
   */
  log?: string;
  /**
   * The most events of the outbox. Those that were relayed stay, so that a log that falls back to an older state gets
   * what it has lost. If more are published while the log is away, the oldest are lost, and clients get a `reset`.
   * @defaultValue 100_000
   */
  maxEvents?: number;
  /**
   * The time in which a publish resolves or rejects, with all its retries and the relay, in milliseconds.
   * @defaultValue 5_000
   */
  publishTimeoutMs?: number;
  /**
   * What goes by the outbox. `'all'`: every publish, so that all events have one order. `'transactional-only'`: direct
   * publishes go to the log at once, and may overtake events of transactions that were committed before. With a log on
   * NATS it is refused.
   * @defaultValue `'all'`
   */
  relay?: 'all' | 'transactional-only';
}

/** The options of `postgres()` or `postgresOutbox()`, checked and resolved. */
export interface PostgresSettings {
  /** The function that they were given to, for messages. */
  readonly owner: 'postgres()' | 'postgresOutbox()';
  readonly pool: PostgresPool | undefined;
  readonly url: string | undefined;
  readonly listenUrl: string | undefined;
  readonly schema: string;
  readonly log: string;
  readonly maxEvents: number;
  readonly maxAgeMs: number | undefined;
  readonly pollMs: number;
  readonly startTimeoutMs: number;
  readonly commandTimeoutMs: number;
  readonly publishTimeoutMs: number;
  readonly maxPendingBytes: number;
}

const FIELDS = [
  'pool',
  'url',
  'listenUrl',
  'schema',
  'log',
  'maxEvents',
  'maxAgeMs',
  'pollMs',
  'startTimeoutMs',
  'commandTimeoutMs',
  'publishTimeoutMs',
  'maxPendingBytes',
];
// Any other name would need quotes in each query of its tables.
const SCHEMA = /^[a-z_][a-z0-9_]{0,62}$/;
const LOG_NAME = /^[\w.-]{1,64}$/;
const URL_START = /^postgres(?:ql)?:\/\//;
const OUTBOX_FIELDS = [...FIELDS, 'relay'];

/** @throws SseError `options-invalid` */
export function postgresSettings(options: PostgresLogOptions): PostgresSettings {
  const checks = new OptionChecks('postgres()');
  checks.refuseUnknown(options, FIELDS);
  return settingsOf(options, { owner: 'postgres()', log: 'topics', checks });
}

/** @throws SseError `options-invalid` */
export function outboxSettings(
  options: PostgresOutboxOptions,
): PostgresSettings & { relay: 'all' | 'transactional-only' } {
  const checks = new OptionChecks('postgresOutbox()');
  checks.refuseUnknown(options, OUTBOX_FIELDS);
  return {
    ...settingsOf(options, { owner: 'postgresOutbox()', log: 'outbox', checks }),
    relay: checks.oneOf('relay', options.relay, ['all', 'transactional-only']),
  };
}

/** @throws SseError `options-invalid` */
export function schemaName(schema: unknown, checks = new OptionChecks('postgres()')): string {
  const allowed = 'lower-case letters, digits and _, the first one no digit, 63 at most';
  if (schema === undefined || (typeof schema === 'string' && SCHEMA.test(schema))) {
    return schema ?? 'sse';
  }
  throw checks.refusal('schema', allowed, schema);
}

interface Owner {
  readonly owner: PostgresSettings['owner'];
  /** The default of `log`. */
  readonly log: string;
  readonly checks: OptionChecks;
}

function settingsOf(options: PostgresLogOptions, { owner, log, checks }: Owner): PostgresSettings {
  return {
    owner,
    ...server(options, owner, checks),
    schema: schemaName(options.schema, checks),
    log: checks.name('log', options.log, log, LOG_NAME, 'letters, digits and _ . -'),
    maxEvents: checks.whole('maxEvents', options.maxEvents) ?? 100_000,
    maxAgeMs: checks.whole('maxAgeMs', options.maxAgeMs),
    pollMs: checks.timer('pollMs', options.pollMs, 200),
    startTimeoutMs:
      options.startTimeoutMs === Infinity
        ? Infinity
        : checks.timer('startTimeoutMs', options.startTimeoutMs, 5_000),
    commandTimeoutMs: checks.timer('commandTimeoutMs', options.commandTimeoutMs, 2_000),
    publishTimeoutMs: checks.timer('publishTimeoutMs', options.publishTimeoutMs, 5_000),
    maxPendingBytes: checks.whole('maxPendingBytes', options.maxPendingBytes) ?? 16_777_216,
  };
}

function server(
  { pool, url, listenUrl }: PostgresLogOptions,
  owner: PostgresSettings['owner'],
  checks: OptionChecks,
) {
  const call = owner.slice(0, -1);
  if ((pool === undefined) === (url === undefined)) {
    throw checks.invalid(
      pool === undefined
        ? `${owner} needs a server: ${call}{ url: 'postgres://localhost/app' }), or ${call}{ pool }) with a Pool of pg.`
        : `${owner} takes either pool or url, got both.`,
      'pool',
    );
  }
  if (pool !== undefined && typeof (pool as { query?: unknown } | null)?.query !== 'function') {
    throw checks.invalid(
      `pool of ${owner} must be a Pool of pg 8, or an object with query(sql, params), got ${show(pool)}.`,
      'pool',
    );
  }
  for (const [field, value] of Object.entries({ url, listenUrl })) {
    if (value !== undefined && !(typeof value === 'string' && URL_START.test(value))) {
      // The value is not shown: it may hold a password.
      throw checks.invalid(`${field} of ${owner} must be a text that begins with postgres://.`, field);
    }
  }
  return { pool, url, listenUrl };
}
