import { OptionChecks, show } from '../../errors/index.js';
import { isRedisClient, isSingleClient } from './clients.js';

/** Options of `redis()`. Give either `client` or `url`; all others have defaults. */
export interface RedisLogOptions {
  /**
   * A function that makes a new client on each call, not connected (`lazyConnect`): of ioredis 5 or 6 (`Redis`,
   * `Cluster`) or of node-redis 5 or 6 (`createClient()`, `createCluster()`, `createSentinel()`). The log closes these
   * clients.
   *
   * Or such a client, connected or not. It is only duplicated. The app must close it, and it keeps the process alive
   * until then. A Sentinel of node-redis 5 cannot be duplicated: give a function.
   */
  client?: object | (() => object);
  /** In place of a client: `redis://…` or `rediss://…`. It needs ioredis or node-redis to be installed. */
  url?: string;
  /**
   * The prefix of all keys, so that several apps can share a server: 1 to 64 of letters, digits and `_.:-`.
   * @defaultValue `'sse'`
   */
  prefix?: string;
  /**
   * The name of the log, for an app with several: 1 to 64 of letters, digits and `_.-`. All its keys have the hash tag
   * `{<prefix>:<log>}`, and so one slot in a Cluster.
   * @defaultValue `'topics'`
   */
  log?: string;
  /**
   * The most events of the log. Redis trims in blocks and keeps up to about a hundred more.
   * @defaultValue 100_000
   */
  maxEvents?: number;
  /**
   * The highest age of an event, in milliseconds. Older events are dropped with the next publish, and all events if
   * there is none for that time.
   * @defaultValue no limit
   */
  maxAgeMs?: number;
  /**
   * How long the app waits for Redis at start, in milliseconds, before it fails with `log-unavailable`. `Infinity`
   * waits without a limit.
   * @defaultValue 5_000
   */
  startTimeoutMs?: number;
  /**
   * The time in which Redis must answer a command or accept a connection, in milliseconds. Past it the connection is
   * replaced.
   * @defaultValue 2_000
   */
  commandTimeoutMs?: number;
  /**
   * The time in which a publish resolves or rejects, with all its retries, in milliseconds.
   * @defaultValue 5_000
   */
  publishTimeoutMs?: number;
  /**
   * The most milliseconds by which the clocks of the log's servers differ: of a master and its replicas, or of one
   * server whose clock is set. A delayed try to publish must find that an earlier one was carried out. So Redis keeps a
   * key for each batch for `publishTimeoutMs` plus twice this time.
   * @defaultValue 10_000
   */
  clockSkewMs?: number;
  /**
   * The most bytes of events that wait for Redis in one log of this process. Past it a publish is refused at once.
   * @defaultValue 16 MiB (16_777_216)
   */
  maxPendingBytes?: number;
}

/** The options of `redis()`, checked and resolved. */
export interface RedisSettings {
  readonly client: object | (() => object) | undefined;
  readonly url: string | undefined;
  readonly prefix: string;
  readonly log: string;
  readonly maxEvents: number;
  readonly maxAgeMs: number | undefined;
  readonly startTimeoutMs: number;
  readonly commandTimeoutMs: number;
  readonly publishTimeoutMs: number;
  readonly clockSkewMs: number;
  readonly maxPendingBytes: number;
}

const FIELDS = [
  'client',
  'url',
  'prefix',
  'log',
  'maxEvents',
  'maxAgeMs',
  'startTimeoutMs',
  'commandTimeoutMs',
  'publishTimeoutMs',
  'clockSkewMs',
  'maxPendingBytes',
];
const PREFIX = /^[\w.:-]{1,64}$/;
// Without a colon, which separates prefix and log: otherwise two pairs of names could make one key.
const LOG_NAME = /^[\w.-]{1,64}$/;
const checks = new OptionChecks('redis()');

/** @throws SseError `options-invalid` */
export function redisSettings(options: RedisLogOptions): RedisSettings {
  checks.refuseUnknown(options, FIELDS);
  return {
    ...server(options),
    prefix: checks.name('prefix', options.prefix, 'sse', PREFIX, 'letters, digits and _ . : -'),
    log: checks.name('log', options.log, 'topics', LOG_NAME, 'letters, digits and _ . -'),
    maxEvents: checks.whole('maxEvents', options.maxEvents) ?? 100_000,
    maxAgeMs: checks.whole('maxAgeMs', options.maxAgeMs),
    startTimeoutMs:
      options.startTimeoutMs === Infinity
        ? Infinity
        : checks.timer('startTimeoutMs', options.startTimeoutMs, 5_000),
    commandTimeoutMs: checks.timer('commandTimeoutMs', options.commandTimeoutMs, 2_000),
    publishTimeoutMs: checks.timer('publishTimeoutMs', options.publishTimeoutMs, 5_000),
    clockSkewMs: checks.whole('clockSkewMs', options.clockSkewMs, 0, 86_400_000) ?? 10_000,
    maxPendingBytes: checks.whole('maxPendingBytes', options.maxPendingBytes) ?? 16_777_216,
  };
}

function server({ client, url }: RedisLogOptions): Pick<RedisSettings, 'client' | 'url'> {
  if ((client === undefined) === (url === undefined)) {
    throw checks.invalid(
      client === undefined
        ? "redis() needs a server: redis({ url: 'redis://localhost:6379' }), or redis({ client }) with a client of ioredis or node-redis."
        : 'redis() takes either client or url, got both.',
      'client',
    );
  }
  if (client !== undefined && typeof client !== 'function' && !isRedisClient(client)) {
    throw checks.invalid(
      isSingleClient(client)
        ? 'client of redis() is one that cannot be duplicated. Give a function that makes it: client: () => createSentinel(…).'
        : `client of redis() must be a client of ioredis 5 or 6, or of node-redis 5 or 6, or a function that makes one, got ${show(client)}.`,
      'client',
    );
  }
  if (url !== undefined && !(typeof url === 'string' && /^rediss?:\/\//.test(url))) {
    // The value is not shown: it may hold a password.
    throw checks.invalid('url of redis() must be a text that begins with redis:// or rediss://.', 'url');
  }
  return { client, url };
}
