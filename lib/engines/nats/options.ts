import { OptionChecks, show } from '../../errors/index.js';

/** A connection of `@nats-io/transport-node`, by its shape. */
export interface NatsConnectionLike {
  publish(subject: string): void;
  request(subject: string): Promise<unknown>;
  subscribe(subject: string): unknown;
  status(): AsyncIterable<unknown>;
  isClosed(): boolean;
}

/** Options of `nats()`. Give either `connection` or `servers`; all others have defaults. */
export interface NatsLogOptions {
  /**
   * A connection that the app has made with `connect()` of `@nats-io/transport-node`. It is shared and never closed by
   * the log. Make it with `maxReconnectAttempts: -1`: by default it gives up for good when NATS is away for some
   * seconds.
   */
  connection?: NatsConnectionLike;
  /**
   * In place of a connection: `'nats://localhost:4222'`, or several servers of a cluster. The log opens and closes it.
   */
  servers?: string | string[];
  /**
   * The prefix of all subjects and streams, so that several apps can share an account: 1 to 64 of letters, digits
   * and `_-`.
   * @defaultValue `'sse'`
   */
  prefix?: string;
  /**
   * The name of the log, for an app with several: 1 to 64 of letters, digits and `_-`. Its stream is
   * `<prefix>-<log>`, and an event of the topic `orders.42` is a message of the subject
   * `<prefix>.<log>.events.orders.42`.
   * @defaultValue `'topics'`
   */
  log?: string;
  /**
   * The most events of the log.
   * @defaultValue 100_000
   */
  maxEvents?: number;
  /**
   * The most bytes of the log, as the server counts them.
   * @defaultValue no limit
   */
  maxBytes?: number;
  /**
   * The highest age of an event, in milliseconds, 100 or more.
   * @defaultValue no limit
   */
  maxAgeMs?: number;
  /**
   * The number of servers of a cluster that keep the log, 1 to 5.
   * @defaultValue 1
   */
  replicas?: number;
  /**
   * Where servers keep the log. A log in memory is lost with its servers.
   * @defaultValue `'file'`
   */
  storage?: 'file' | 'memory';
  /**
   * How long the app waits for NATS at start, in milliseconds, before it fails with `log-unavailable`. `Infinity` waits
   * without a limit.
   * @defaultValue 5_000
   */
  startTimeoutMs?: number;
  /**
   * The time in which NATS must answer a request, in milliseconds.
   * @defaultValue 2_000
   */
  requestTimeoutMs?: number;
  /**
   * The time in which a publish resolves or rejects, with all its retries, in milliseconds.
   * @defaultValue 5_000
   */
  publishTimeoutMs?: number;
  /**
   * The most bytes of events that wait for NATS in this process. Past it a publish is refused at once.
   * @defaultValue 16 MiB (16_777_216)
   */
  maxPendingBytes?: number;
}

/** The options of `nats()`, checked and resolved. */
export interface NatsSettings {
  readonly connection: NatsConnectionLike | undefined;
  readonly servers: string[] | undefined;
  readonly prefix: string;
  readonly log: string;
  readonly maxEvents: number;
  readonly maxBytes: number | undefined;
  readonly maxAgeMs: number | undefined;
  readonly replicas: number;
  readonly storage: 'file' | 'memory';
  readonly startTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly publishTimeoutMs: number;
  readonly maxPendingBytes: number;
  /** The options that the app has set. An existing stream must not contradict them, and may have other defaults. */
  readonly given: ReadonlySet<string>;
}

const FIELDS = [
  'connection',
  'servers',
  'prefix',
  'log',
  'maxEvents',
  'maxBytes',
  'maxAgeMs',
  'replicas',
  'storage',
  'startTimeoutMs',
  'requestTimeoutMs',
  'publishTimeoutMs',
  'maxPendingBytes',
];
// The limits of JetStream. Its nanoseconds must stay exact as numbers.
const MIN_AGE_MS = 100;
const MAX_AGE_MS = Math.floor(Number.MAX_SAFE_INTEGER / 1_000_000);
const MAX_REPLICAS = 5;
const NAME = /^[\w-]{1,64}$/;
const ALLOWED = 'letters, digits and _ -';
const checks = new OptionChecks('nats()');
const METHODS = ['publish', 'request', 'subscribe', 'status', 'isClosed'];

/** @throws SseError `options-invalid` */
export function natsSettings(options: NatsLogOptions): NatsSettings {
  checks.refuseUnknown(options, FIELDS);
  return {
    ...server(options),
    prefix: checks.name('prefix', options.prefix, 'sse', NAME, ALLOWED),
    log: checks.name('log', options.log, 'topics', NAME, ALLOWED),
    maxEvents: checks.whole('maxEvents', options.maxEvents) ?? 100_000,
    maxBytes: checks.whole('maxBytes', options.maxBytes),
    maxAgeMs: checks.whole('maxAgeMs', options.maxAgeMs, MIN_AGE_MS, MAX_AGE_MS),
    replicas: checks.whole('replicas', options.replicas, 1, MAX_REPLICAS) ?? 1,
    storage: storage(options.storage),
    startTimeoutMs:
      options.startTimeoutMs === Infinity
        ? Infinity
        : checks.timer('startTimeoutMs', options.startTimeoutMs, 5_000),
    requestTimeoutMs: checks.timer('requestTimeoutMs', options.requestTimeoutMs, 2_000),
    publishTimeoutMs: checks.timer('publishTimeoutMs', options.publishTimeoutMs, 5_000),
    maxPendingBytes: checks.whole('maxPendingBytes', options.maxPendingBytes) ?? 16_777_216,
    given: new Set(FIELDS.filter((field) => Reflect.get(options, field) !== undefined)),
  };
}

function server({ connection, servers }: NatsLogOptions): Pick<NatsSettings, 'connection' | 'servers'> {
  if ((connection === undefined) === (servers === undefined)) {
    throw checks.invalid(
      connection === undefined
        ? "nats() needs a server: nats({ servers: 'nats://localhost:4222' }), or nats({ connection }) with what connect() of @nats-io/transport-node resolves with."
        : 'nats() takes either connection or servers, got both.',
      'connection',
    );
  }
  if (connection !== undefined && !isConnection(connection)) {
    throw checks.invalid(
      `connection of nats() must be what connect() of @nats-io/transport-node resolves with, got ${shape(connection)}.`,
      'connection',
    );
  }
  if (servers === undefined) {
    return { connection, servers };
  }
  const list = typeof servers === 'string' ? [servers] : servers;
  if (!Array.isArray(list) || list.length === 0 || !list.every(isAddress)) {
    // The value is not shown: it may hold a password.
    throw checks.invalid(
      "servers of nats() must be a text such as 'nats://localhost:4222', or several.",
      'servers',
    );
  }
  return { connection, servers: list };
}

function isAddress(value: unknown): boolean {
  return typeof value === 'string' && /^\S+$/.test(value);
}

function isConnection(value: unknown): boolean {
  return (
    typeof value === 'object' &&
    value !== null &&
    METHODS.every((method) => typeof Reflect.get(value, method) === 'function')
  );
}

function shape(value: unknown): string {
  return value instanceof Promise ? 'a promise: await it first' : show(value);
}

function storage(value: unknown): 'file' | 'memory' {
  if (value === undefined || value === 'file' || value === 'memory') {
    return value ?? 'file';
  }
  throw checks.invalid(`storage of nats() must be "file" or "memory", got ${show(value)}.`, 'storage');
}
