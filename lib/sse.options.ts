import type { Compression, ConnectionSettings, DrainSettings, SseConnection } from './connection/index.js';
import type { StreamFormat, StreamFormatName } from './stream/index.js';
import { memory } from './engines/memory/index.js';
import type { EventLogFactory, OutboxFactory } from './log/index.js';
import { DEFAULT_LIMITS } from './limits/index.js';
import type { LimitName, LimitSettings } from './limits/index.js';
import type { RunsSettings } from './runs/index.js';
import { MAX_TIMER_MS, OptionChecks, SseError } from './errors/index.js';
import type { TopicSettings } from './topics/index.js';
import type { RevalidationSettings, TicketSettings } from './trust/index.js';
import { revalidationSettings, ticketSettings } from './sse.trust-options.js';
import type { SseRevalidateOptions, SseTicketOptions } from './sse.trust-options.js';
import { presenceSettings } from './sse.presence-options.js';
import type { SsePresenceOptions } from './sse.presence-options.js';

/** Options of `SseModule.forRoot`. */
export interface SseModuleOptions extends SseRouteOptions {
  /**
   * Connections that this process holds at once. At least 1. Further clients are shed: a GET gets an empty stream with
   * a `retry` of 15 to 45 s, any other method a 503 with `Retry-After`.
   * @defaultValue no limit
   */
  maxConnections?: number;
  /** How streams end when the app closes. */
  drain?: {
    /**
     * Milliseconds to wait before the first stream is ended, so that a load balancer learns that this instance is
     * closing. New streams are still served meanwhile. 0 to 2_147_483_647.
     * @defaultValue 0
     */
    delayMs?: number;
    /**
     * Milliseconds that a client has to read what was sent, before its response is destroyed. 0 to 2_147_483_647.
     * @defaultValue 1_000
     */
    timeoutMs?: number;
    /**
     * Least `retry` in milliseconds that a client is sent at shutdown. 0 to 2_147_483_647. For an app with a single
     * instance, set the time that a restart takes.
     * @defaultValue 0
     */
    leastRetryMs?: number;
    /**
     * Milliseconds over which clients reconnect after a shutdown, counted from `leastRetryMs`. Each client is sent a
     * time of its own. 0 to 2_147_483_647.
     * @defaultValue 5_000
     */
    spreadMs?: number;
  };
  /**
   * The log of the app's topics and runs: `memory()`, `redis()`, `nats()` or `postgres()`.
   * @defaultValue `memory()`: for one process. After a restart every client gets a `reset`, and no run is left
   */
  log?: EventLogFactory;
  /**
   * Where events wait that are published within a transaction, if the log is on Redis or NATS: `postgresOutbox()` of
   * `nestjs-event-stream/postgres`. All other events are published by it as well, so that all have one order.
   * @defaultValue none: `publish()` takes a transaction only if the log is `postgres()`
   */
  outbox?: OutboxFactory;
  /**
   * Decides whether a client receives an event of a topic. It is called for every event and client, live and at replay,
   * so it is synchronous and should be fast. A throw, or any value but `true`, means no. It runs in the async context
   * in which the client followed: `AsyncLocalStorage` holds the client's own request.
   * @defaultValue every client receives every event that it follows
   */
  authorize?: (topic: string, connection: SseConnection) => boolean;
  /**
   * Returns to whom the connection of a request belongs: the id of a user, or a list such as user and tenant. A key is
   * a string of 1 to 512 characters; a list has at most 8. It is called once for each stream, after the guards, and
   * is synchronous. The request is the framework's, as in `connection.request`.
   *
   * Undefined: the connection has no key, and no limit per key. The module warns of the first one. If it throws,
   * the answer is a 500, or that of the `HttpException`. Never return the client's address: behind a proxy it is the
   * same for all. Prefix keys of several kinds, as in `user:1` and `tenant:1`.
   * @defaultValue connections have no key
   */
  keyOf?(this: void, request: unknown): string | readonly string[] | undefined;
  /**
   * Limits of this process. N instances admit N times as much. Those for each key need `keyOf`, or the owner of a run.
   * The defaults are above what the keys of users meet; raise them if a key stands for more, such as a tenant.
   */
  limits?: {
    /**
     * The most open streams of one key. At least 1. A further GET is shed, as by `maxConnections`; any other method gets
     * a 429 with `Retry-After`.
     * @defaultValue 2_000
     */
    connectionsPerKey?: number;
    /**
     * The most streams that one key opens within a minute. At least 1. A further one is answered as by
     * `connectionsPerKey`.
     * @defaultValue 10_000
     */
    connectsPerKeyPerMinute?: number;
    /**
     * The most patterns that one connection follows, of topics and of wildcards. At least 1. A connection that would
     * follow more is refused as `topic-invalid`, which is a 400: it would be too many later as well.
     * @defaultValue 100
     */
    patternsPerConnection?: number;
    /**
     * The most streams that wait for their turn on one socket of HTTP/1.1, behind a stream that goes on: a client may
     * send requests without waiting for answers. At least 1. With more, the socket is closed. A stream that waits
     * takes no place of `maxConnections` and `connectionsPerKey`.
     * @defaultValue 100
     */
    waitingPerSocket?: number;
    /**
     * The most runs of one owner that this process produces at once. At least 1. A further `start` is refused with a 429
     * and `Retry-After`. Runs without an owner are limited by `runs.maxRuns` alone.
     * @defaultValue 100
     */
    runsPerKey?: number;
    /**
     * The most runs that this process starts for one owner within a minute. At least 1. A further one is answered as by
     * `runsPerKey`.
     * @defaultValue 200
     */
    runsPerKeyPerMinute?: number;
    /**
     * The most events that are read from the log within a minute for the clients of one key that resume, whether or not
     * they get them. At least 1. Events of the ring do not count. A further replay waits; if it would have to wait for
     * more than 30 s, the client gets a `reset` with the reason `limit`, or a snapshot.
     *
     * Events of runs that clients attach to again count for the owner, or for the keys of the client if there is none.
     * If no more may be read, a GET is told when to come back; other methods get a 429 with `Retry-After`. An answer
     * that has begun is cut, and its client goes on from its place later.
     * @defaultValue 1_000_000
     */
    replayEventsPerKeyPerMinute?: number;
    /**
     * The most pages of the log that are read for clients at once. At least 1. Further ones wait for their turn.
     * @defaultValue 100
     */
    concurrentReplays?: number;
    /**
     * The most bytes that wait for the clients of one key because they do not read. At least 1. Past it, the client of
     * the key for which most wait is closed as `slow`. What many clients get, such as a published event, is in memory
     * once, and does not count.
     * @defaultValue 256 MiB (268_435_456)
     */
    queuedBytesPerKey?: number;
    /**
     * As `queuedBytesPerKey`, for all clients of this process.
     * @defaultValue 1 GiB (1_073_741_824)
     */
    queuedBytes?: number;
    /**
     * With `memory()`, the most runs that are kept after their end, for clients that come back. At least 1. Past it the
     * oldest is dropped before its `ttlMs`. Redis and NATS keep each for its `ttlMs`, in their own memory.
     * @defaultValue 50_000
     */
    endedRuns?: number;
    /**
     * With `memory()`, the most bytes of runs that are kept after their end, for clients that come back. At least 1. They
     * are counted as for `maxBytes` of `memory()`. Past it the oldest is dropped before its `ttlMs`.
     * @defaultValue 256 MiB (268_435_456)
     */
    endedRunsBytes?: number;
  };
  /**
   * Milliseconds without any read after which a client that follows topics, or is attached to a run, is closed as
   * `slow`. 1 to 2_147_483_647.
   * @defaultValue 60_000
   */
  maxLagMs?: number;
  /**
   * Most events that are replayed to one client. At least 1. A client that has missed more gets a `reset`.
   * @defaultValue 100_000
   */
  maxReplayEvents?: number;
  /**
   * Newest events of the log that each process keeps in memory, for clients that resume. At least 1.
   * @defaultValue 10_000
   */
  ringEvents?: number;
  /**
   * Bytes, approximately, that these events may take. At least 1. An event counts three times its topic, type and data,
   * because its frame is kept as well, and 300 bytes more. The newest event is kept however large it is. Older events
   * are read from the log; what is read for clients that resume may take as much memory again for some seconds.
   * @defaultValue 64 MiB (67_108_864)
   */
  ringBytes?: number;
  /**
   * The former name of `limits.patternsPerConnection`.
   * @deprecated Set `limits.patternsPerConnection`.
   */
  maxPatterns?: number;
  /**
   * Name of the event that tells a client that events are missing.
   * @defaultValue `'reset'`
   */
  resetEvent?: string;
  /**
   * Name of the event that tells a client its place in the log.
   * @defaultValue `'cursor'`
   */
  cursorEvent?: string;
  /**
   * Asks regularly whether open connections may stay: a user may have been locked out, or a token be withdrawn. A
   * connection for which the answer is no gets `event: revoked` and its end.
   * @defaultValue connections are checked by guards as they begin, and not again
   */
  revalidate?: SseRevalidateOptions;
  /** Bounds and times of members of topics: see `SseService.presence`. Give all instances the same. */
  presence?: SsePresenceOptions;
  /** Tickets for EventSource, which sends no header: see `SseService.tickets`. Without it there are none. */
  tickets?: SseTicketOptions;
  /** Options that all runs share: see `SseService.runs`. */
  runs?: {
    /**
     * Milliseconds without a sign of life after which the process that produces a run counts as gone. 300 to
     * 2_147_483_647. A process renews its lease of each run four times as often.
     * @defaultValue 10_000
     */
    leaseMs?: number;
    /**
     * Bytes of each run that a process keeps in memory, if it produces the run or has clients of it. At least 1. They
     * are counted as for `ringBytes`; older records are read from the log.
     * @defaultValue 8 MiB (8_388_608)
     */
    ringBytes?: number;
    /**
     * The most runs that this process produces at once. At least 1. A further run is refused with a 503 and `Retry-After`.
     * @defaultValue no limit
     */
    maxRuns?: number;
  };
  /**
   * Whether this package serves `@Sse()` routes. `false` leaves them to Nest, without `@Connection()` and
   * `@SseOptions()`.
   * @defaultValue true
   */
  enhanceSseRoutes?: boolean;
}

/** Options of a route or of one connection; on the module they are the defaults of all. */
export interface SseRouteOptions {
  /**
   * Milliseconds without a byte after which a comment line is sent; `false` for none. 10 to 2_147_483_647. Heartbeats
   * keep proxies from closing a quiet stream, and show the server that a client has left.
   * @defaultValue 15_000, below the 30 s after which the strictest common proxies cut
   */
  heartbeatMs?: number | false;
  /**
   * Milliseconds after which a client that lost its stream reconnects: the `retry` field (WHATWG HTML, 9.2.6), which
   * every stream begins with. A whole number, 0 to 2_147_483_647.
   * @defaultValue 3_000
   */
  retryMs?: number;
  /**
   * Milliseconds after which a connection is closed, so that its client opens a new one. At least 1. It closes up to
   * 10% early, at random, so that clients that connected together do not reconnect together. Set it below the limit of
   * a proxy that ends long responses. A response whose end means "complete", as of a POST or of `stream()`, is cut
   * instead, or ends with the error of its `format`.
   * @defaultValue no limit
   */
  maxConnectionMs?: number;
  /**
   * UTF-8 bytes that may wait for a client that has had a turn of the event loop to read them. At least 1. When more
   * wait, the connection closes with the reason `slow` and its memory is freed. One event may be larger if nothing else
   * waits. Bytes that are sent within one turn count against `maxBurstBytes` instead. On an `@Sse()` route without this
   * option, Nest's `maxPendingDataLength` sets both.
   * @defaultValue 1 MiB (1_048_576); on `@Sse()` routes 4 MiB, as many bytes as Nest allows characters
   */
  maxBufferedBytes?: number;
  /**
   * UTF-8 bytes that may be sent within one turn of the event loop to a client that kept up before it, or whose headers
   * are not sent yet. At least 1. Such a client has had no chance to read them. When more are sent, or the client has
   * not read the burst after 30 s, the connection closes with the reason `slow`.
   * @defaultValue 16 MiB (16_777_216), or `maxBufferedBytes` if that is more
   */
  maxBurstBytes?: number;
  /**
   * UTF-8 bytes that one event may take on the wire, field names and line ends included. At least 1. A larger event is
   * refused with an `SseError`, `event-too-large`.
   * @defaultValue 1 MiB (1_048_576)
   */
  maxEventBytes?: number;
  /**
   * Whether new clients are turned away while this instance cannot read what others have revoked: the log is away, or
   * lags. A GET is told to come back, other methods get a 503. Open streams stay. Without `keyOf`
   * and `tickets` it is refused as `options-invalid`.
   * @defaultValue false: what was revoked before is enforced, and the rest when the log is back
   */
  revocable?: boolean;
  /**
   * Compresses streams with gzip, for clients whose `Accept-Encoding` takes it. `'events'`: each event is compressed by
   * itself, once for all clients, if its frame has 400 bytes or more. No client takes memory for it, and the length of an
   * event depends on that event alone.
   *
   * `'stream'`: an event is compressed with what all clients have received before it, as by a compressor of their own: a
   * chunk of a chat shrinks to a tenth. It is for connections that follow topics by one `follow` without a `filter`, and
   * for runs; others are compressed as by `'events'`, with one warning for each route. A client that was sent something
   * alone, or has lagged, gets events of `'events'` until it has the last 2 KB like the others.
   *
   * If an event holds a secret beside text from outside, its length shows whether they are alike, as that of a
   * compressed page does: keep such a route out with `false`. With `'stream'` the events before it count as well: use
   * it without secrets only. Responses to HEAD, those that the app encodes itself, and those whose `write` a middleware
   * has wrapped are not compressed.
   * @defaultValue `false`
   */
  compression?: false | 'events' | 'stream';
}

/** Options of `@SseOptions()`. */
export interface SseHandlerOptions extends SseRouteOptions {
  /**
   * Returns when the client's right to the stream ends, such as the expiry of its token. It is called once for each
   * stream, after the guards, with the framework's request. The connection closes as `expired` then, never early. If it
   * throws, so does the handler.
   * @defaultValue never
   */
  // A method: an app declares the type of its own request.
  expiresAt?(this: void, request: unknown): Date | undefined;
}

/** Options of `SseService.connect`. */
export interface SseConnectOptions extends SseRouteOptions {
  /**
   * When the client's right to the stream ends, such as the expiry of its token. The connection closes then, as by
   * `maxConnectionMs`, but never early.
   * @defaultValue never
   */
  expiresAt?: Date;
  /** A value of the app's own, for `connection.data`. This package does not read it. */
  data?: unknown;
}

/** Options of `SseService.stream`. */
export interface SseStreamOptions<T = unknown> extends SseConnectOptions {
  /**
   * The protocol that items, failures and the end are sent in: the name of a built-in one, or your own. With a format,
   * a stream that fails, or is ended before its source, ends with the format's error instead of a cut.
   * @defaultValue none: an item is an event, or data; a failure is an `error` event and a cut
   */
  format?: StreamFormatName | StreamFormat<T>;
  /**
   * Name of an event with the data `{}` that is sent last, when the source is complete. A client that has not received
   * it has an incomplete answer: some proxies end a response that was cut as if it were complete. Not allowed beside a
   * `format`, which has an end of its own.
   * @defaultValue none: the end of the response is the only sign
   */
  doneEvent?: string;
}

/** Options of `SseRuns.attach`. */
export interface SseAttachOptions extends SseConnectOptions {
  /** The owner of the run, as given to `start`. A run of another owner is not found. */
  owner?: string;
  /**
   * What a client gets from a run that has ended: all of it, or the status 204. One that comes with the
   * `Last-Event-ID` of an event of the run gets the rest in either case.
   * @defaultValue `'replay'`; `'none'` for a GET of a run in the format `ai-sdk`, whose clients have saved the answer
   */
  ended?: 'replay' | 'none';
}

/**
 * Checks the options of the module and fills in the defaults.
 *
 * @throws SseError `options-invalid`: the message names the option, what it must be and what was given
 */
export function resolveOptions(options: SseModuleOptions = {}): ResolvedOptions {
  checks.refuseUnknown(options, MODULE_FIELDS, 'SseModule');
  const { drain = {}, maxConnections } = options;
  if (typeof drain !== 'object' || drain === null) {
    throw checks.refusal('drain', 'an object', drain);
  }
  checks.refuseUnknown(drain, DRAIN_FIELDS, 'drain');
  const hasKeys = options.keyOf !== undefined || options.tickets !== undefined;
  const connection = resolveSettings(routeOptionsOf(options), { ...DEFAULT_SETTINGS, hasKeys });
  const maxBufferedBytes = options.maxBufferedBytes ?? SSE_ROUTE_BUFFERED_BYTES;
  const draining = {
    delayMs: checks.timer('drain.delayMs', drain.delayMs, 0, 0),
    timeoutMs: checks.timer('drain.timeoutMs', drain.timeoutMs, 1_000, 0),
    leastRetryMs: checks.timer('drain.leastRetryMs', drain.leastRetryMs, 0, 0),
    spreadMs: checks.timer('drain.spreadMs', drain.spreadMs, 5_000, 0),
  };
  return {
    connection,
    sseRoutes: { ...connection, maxBufferedBytes },
    maxConnections: checks.atLeast('maxConnections', maxConnections, Infinity),
    drain: draining,
    enhanceSseRoutes: checks.flag('enhanceSseRoutes', options.enhanceSseRoutes, true),
    topics: topicSettings(options, connection, draining),
    runs: runsSettings(options, connection.maxEventBytes),
    limits: limitSettings(options),
    keyOf: checks.callable('keyOf', options.keyOf, 'a function (request) => string | string[] | undefined'),
    tickets: ticketSettings(options.tickets),
    revalidate: revalidationSettings(options.revalidate),
    outbox: checks.callable('outbox', options.outbox, 'what postgresOutbox() gives'),
    log:
      checks.callable('log', options.log, 'what memory() or the entry point of an engine gives') ?? memory(),
  };
}

/** Checked options of the module, with defaults filled in. */
export interface ResolvedOptions {
  connection: ConnectionSettings;
  sseRoutes: ConnectionSettings;
  maxConnections: number;
  drain: DrainSettings;
  enhanceSseRoutes: boolean;
  topics: TopicSettings;
  runs: RunsSettings;
  /** Absent if connections are not checked again. */
  revalidate: RevalidationSettings | undefined;
  /** Absent if the app has no tickets. */
  tickets: TicketSettings | undefined;
  log: EventLogFactory;
  outbox: OutboxFactory | undefined;
  keyOf: SseModuleOptions['keyOf'];
  limits: LimitSettings;
}

function topicSettings(
  options: SseModuleOptions,
  { maxEventBytes, retryMs }: ConnectionSettings,
  { leastRetryMs, spreadMs }: Required<DrainSettings>,
): TopicSettings {
  return {
    resetEvent: eventName('resetEvent', options.resetEvent) ?? 'reset',
    cursorEvent: eventName('cursorEvent', options.cursorEvent) ?? 'cursor',
    maxEventBytes,
    maxReplayEvents: checks.atLeast('maxReplayEvents', options.maxReplayEvents, 100_000),
    ringEvents: checks.atLeast('ringEvents', options.ringEvents, 10_000),
    ringBytes: checks.atLeast('ringBytes', options.ringBytes, 64 * MIB),
    maxPatterns: limitSettings(options).patternsPerConnection,
    maxLagMs: checks.timer('maxLagMs', options.maxLagMs, 60_000),
    presence: presenceSettings(options.presence, { retryMs, leastRetryMs, spreadMs }),
    authorize: checks.callable('authorize', options.authorize, 'a function (topic, connection) => boolean'),
  };
}

function runsSettings({ runs = {}, maxLagMs }: SseModuleOptions, maxEventBytes: number): RunsSettings {
  if (typeof runs !== 'object' || runs === null) {
    throw checks.refusal('runs', 'an object', runs);
  }
  checks.refuseUnknown(runs, RUNS_FIELDS, 'runs');
  return {
    leaseMs: checks.timer('runs.leaseMs', runs.leaseMs, 10_000, 300),
    ringBytes: checks.atLeast('runs.ringBytes', runs.ringBytes, 8 * MIB),
    maxRuns: checks.atLeast('runs.maxRuns', runs.maxRuns, Infinity),
    maxLagMs: maxLagMs ?? 60_000,
    maxEventBytes,
  };
}

function limitSettings({ limits = {}, maxPatterns }: SseModuleOptions): LimitSettings {
  if (typeof limits !== 'object' || limits === null) {
    throw checks.refusal('limits', 'an object', limits);
  }
  checks.refuseUnknown(limits, Object.keys(DEFAULT_LIMITS), 'limits');
  const names = Object.keys(DEFAULT_LIMITS) as LimitName[];
  const patternsPerConnection = checks.atLeast(
    'maxPatterns',
    maxPatterns,
    DEFAULT_LIMITS.patternsPerConnection,
  );
  const defaults = { ...DEFAULT_LIMITS, patternsPerConnection };
  const resolved = names.map((name) => [
    name,
    checks.atLeast(`limits.${name}`, limits[name], defaults[name]),
  ]);
  return Object.fromEntries(resolved) as LimitSettings;
}

/**
 * Reads the option `doneEvent`.
 *
 * @throws SseError `options-invalid`
 */
export function doneEventOf({ doneEvent, format }: SseStreamOptions<never>): string | undefined {
  if (doneEvent !== undefined && format !== undefined) {
    throw new SseError(
      'options-invalid',
      'doneEvent is for a stream without a format: a format tells the end in its own way.',
      { field: 'doneEvent' },
    );
  }
  return eventName('doneEvent', doneEvent);
}

function eventName(field: string, value: unknown): string | undefined {
  if (value === undefined || (typeof value === 'string' && /^[^\r\n]+$/.test(value))) {
    return value;
  }
  throw checks.refusal(field, 'a name without a line break', value);
}

/**
 * Resolves the settings of one connection: options that are given, and defaults for the rest.
 *
 * @throws SseError `options-invalid`
 */
export function resolveSettings(
  options: SseConnectOptions,
  defaults: ConnectionSettings,
): ConnectionSettings {
  checks.refuseUnknown(options, CONNECT_FIELDS, 'A connection');
  // Nearly all connections are opened without options of their own: they share one object.
  if (!SETTING_FIELDS.some((field) => options[field] !== undefined)) {
    return defaults;
  }
  const { heartbeatMs } = options;
  const maxBufferedBytes = checks.atLeast(
    'maxBufferedBytes',
    options.maxBufferedBytes,
    defaults.maxBufferedBytes,
  );
  return {
    heartbeatMs: heartbeat(heartbeatMs ?? defaults.heartbeatMs),
    retryMs: checks.whole('retryMs', options.retryMs, 0, MAX_TIMER_MS) ?? defaults.retryMs,
    maxConnectionMs: checks.atLeast('maxConnectionMs', options.maxConnectionMs, defaults.maxConnectionMs),
    maxBufferedBytes,
    maxBurstBytes:
      checks.atLeast('maxBurstBytes', options.maxBurstBytes) ??
      // A route that raises maxBufferedBytes alone keeps the burst limit of the app, unless the new value is higher.
      (options.maxBufferedBytes === undefined
        ? defaults.maxBurstBytes
        : Math.max(defaults.maxBurstBytes, maxBufferedBytes)),
    maxEventBytes: checks.atLeast('maxEventBytes', options.maxEventBytes, defaults.maxEventBytes),
    expiresAt: dateOf(options.expiresAt) ?? defaults.expiresAt,
    revocable: revocable(options.revocable, defaults),
    compression: compression(options.compression, defaults),
    hasKeys: defaults.hasKeys,
  };
}

function revocable(value: boolean | undefined, defaults: ConnectionSettings): boolean {
  const isRevocable = checks.flag('revocable', value, defaults.revocable);
  if (isRevocable && !defaults.hasKeys) {
    throw checks.invalid(
      'revocable needs the option "keyOf" or "tickets" of SseModule.forRoot(): without either, no connection has a ' +
        'key that could be revoked.',
      'revocable',
    );
  }
  return isRevocable;
}

function compression(value: unknown, defaults: ConnectionSettings): Compression {
  if (value === undefined || value === false || value === 'events' || value === 'stream') {
    return value ?? defaults.compression;
  }
  throw checks.refusal('compression', "false, 'events' or 'stream'", value);
}

function heartbeat(value: number | false): number | false {
  return value === false ? false : checks.timer('heartbeatMs', value, value, 10, ', or false');
}

/**
 * Resolves the settings of a route.
 *
 * @throws SseError `options-invalid`
 */
export function resolveRouteSettings(
  { expiresAt, ...options }: SseHandlerOptions,
  defaults: ConnectionSettings,
): ConnectionSettings {
  checks.refuseUnknown({ expiresAt, ...options }, [...ROUTE_FIELDS, 'expiresAt'], 'A route');
  const settings = resolveSettings(options, defaults);
  const expiresAtOf = checks.callable('expiresAt', expiresAt, 'a function (request) => Date | undefined');
  return expiresAtOf ? { ...settings, expiresAtOf } : settings;
}

/**
 * Adds to the settings of an `@Sse()` route when the right of a request ends.
 *
 * @throws SseError `options-invalid` if the app returns neither a valid Date nor undefined; what the app throws
 */
export function settingsFor(request: unknown, settings: ConnectionSettings): ConnectionSettings {
  const { expiresAtOf } = settings;
  return expiresAtOf ? { ...settings, expiresAt: dateOf(expiresAtOf(request)) } : settings;
}

function dateOf(expiresAt: unknown): Date | undefined {
  if (expiresAt === undefined || (expiresAt instanceof Date && !Number.isNaN(expiresAt.getTime()))) {
    return expiresAt;
  }
  throw checks.refusal('expiresAt', 'a valid Date', expiresAt);
}

const MIB = 1_048_576;
const checks = new OptionChecks();
// Nest's own default, which counts characters. With less, a route that sends in bursts would lose clients to this
// limit.
const SSE_ROUTE_BUFFERED_BYTES = 4 * MIB;

const DEFAULT_SETTINGS: ConnectionSettings = {
  heartbeatMs: 15_000,
  retryMs: 3_000,
  maxConnectionMs: undefined,
  maxBufferedBytes: MIB,
  maxBurstBytes: 16 * MIB,
  maxEventBytes: MIB,
  expiresAt: undefined,
  revocable: false,
  compression: false,
  hasKeys: false,
};

const ROUTE_FIELDS = [
  'heartbeatMs',
  'retryMs',
  'maxConnectionMs',
  'maxBufferedBytes',
  'maxBurstBytes',
  'maxEventBytes',
  'revocable',
  'compression',
] as const;
const SETTING_FIELDS = [...ROUTE_FIELDS, 'expiresAt'] as const;
const CONNECT_FIELDS = [...SETTING_FIELDS, 'data'];
const MODULE_FIELDS = [
  ...ROUTE_FIELDS,
  'maxConnections',
  'drain',
  'enhanceSseRoutes',
  'log',
  'outbox',
  'runs',
  'presence',
  'tickets',
  'revalidate',
  'authorize',
  'keyOf',
  'limits',
  'maxLagMs',
  'maxReplayEvents',
  'ringEvents',
  'ringBytes',
  'maxPatterns',
  'resetEvent',
  'cursorEvent',
];
const RUNS_FIELDS = ['leaseMs', 'ringBytes', 'maxRuns'];
const DRAIN_FIELDS = ['delayMs', 'timeoutMs', 'leastRetryMs', 'spreadMs'];

function routeOptionsOf(options: SseModuleOptions): SseRouteOptions {
  return Object.fromEntries(ROUTE_FIELDS.map((field) => [field, options[field]]));
}
