import { OptionChecks, show } from '../../errors/index.js';
import { isRedisClient, isSingleClient } from './clients.js';

/** What `redis()` takes: either `client` or `url`, and the rest as you like. */
export interface RedisLogOptions {
  /**
   * A function that makes a client of ioredis 5 or 6 (`Redis`, `Cluster`) or of node-redis 5 or 6
   * (`createClient()`, `createCluster()`, `createSentinel()`) anew each time that it is called, not
   * connected (`lazyConnect`). The log closes what it returns. Or such a client, connected or not: it is
   * duplicated, and used for nothing else. It stays the app's, and keeps the process alive until the app
   * closes it. A Sentinel of node-redis 5 cannot be duplicated: give a function.
   */
  client?: object | (() => object);
  /** In place of a client: `redis://…` or `rediss://…`. It needs ioredis, or else node-redis, installed. */
  url?: string;
  /**
   * What all keys begin with, so that several apps can share a server: 1 to 64 of letters, digits and `_.:-`.
   * @defaultValue `'sse'`
   */
  prefix?: string;
  /**
   * Name of the log, for an app with several: 1 to 64 of letters, digits and `_.-`. All its keys have
   * the hash tag `{<prefix>:<log>}`, and so one place in a Cluster.
   * @defaultValue `'topics'`
   */
  log?: string;
  /**
   * Events that the log keeps; Redis trims by the block and keeps up to about a hundred more.
   * @defaultValue 100_000
   */
  maxEvents?: number;
  /**
   * Milliseconds that the log keeps an event. Older ones go when another is published, and all of them
   * when none was for that long.
   * @defaultValue no limit
   */
  maxAgeMs?: number;
  /**
   * Milliseconds that the app waits at start for Redis before it fails with `log-unavailable`;
   * `Infinity` waits for as long as it takes.
   * @defaultValue 5_000
   */
  startTimeoutMs?: number;
  /**
   * Milliseconds in which Redis must answer a command, or take a connection. Past it the connection
   * is given up, and another is opened.
   * @defaultValue 2_000
   */
  commandTimeoutMs?: number;
  /**
   * Milliseconds in which a publish resolves or rejects, with all that is tried again meanwhile.
   * @defaultValue 5_000
   */
  publishTimeoutMs?: number;
  /**
   * Milliseconds by which the clocks of the servers that may serve the log can differ: of a master and its replicas,
   * or of one server that is set. A try to publish that arrives late, after `publishTimeoutMs` and this, must find
   * that an earlier one was carried out, so Redis keeps a key for each batch for `publishTimeoutMs` and twice this.
   * @defaultValue 10_000
   */
  clockSkewMs?: number;
  /**
   * Bytes of events that may wait for Redis in one log of this process; past it a publish is refused at once.
   * @defaultValue 16 MiB (16_777_216)
   */
  maxPendingBytes?: number;
}

/** The options, checked, with their defaults. */
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
// Without the colon that stands between the two: otherwise two pairs of names could be one.
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
    // Not shown: it may hold a password.
    throw checks.invalid('url of redis() must be a text that begins with redis:// or rediss://.', 'url');
  }
  return { client, url };
}
