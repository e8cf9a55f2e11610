import type { ConnectionSettings, DrainSettings, SseConnection } from './connection/index.js';
import type { StreamFormat, StreamFormatName } from './stream/index.js';
import { memory } from './engines/memory/index.js';
import type { EventLogFactory } from './log/index.js';
import type { RunsSettings } from './runs/index.js';
import { MAX_TIMER_MS, OptionChecks, SseError } from './errors/index.js';
import type { TopicSettings } from './topics/index.js';

/** What can be set for one route, or for one connection, as well as for all. */
export interface SseRouteOptions {
  /**
   * Milliseconds without a byte after which a comment line is sent, so that no proxy takes the
   * stream for dead and a client that left is noticed; `false` for none. 10 to 2_147_483_647.
   * @defaultValue 15_000, below the 30 s after which the strictest common proxies cut
   */
  heartbeatMs?: number | false;
  /**
   * Milliseconds after which a client that lost its stream comes back (WHATWG HTML, 9.2.6: `retry`);
   * always sent first. Whole, 0 to 2_147_483_647.
   * @defaultValue 3_000
   */
  retryMs?: number;
  /**
   * Milliseconds after which a connection is ended so that its client opens a new one, up to a
   * tenth earlier at random. Set it below the cap of a proxy that ends long answers. Where the end
   * of the response would mean that it is complete, as for a POST or a `stream()`, it is cut instead,
   * or ends with the error of its `format`. At least 1.
   * @defaultValue no limit
   */
  maxConnectionMs?: number;
  /**
   * Bytes of UTF-8 that may wait for a client that has had a turn of the event loop to read. Past it the
   * connection is closed with the reason `slow`, and the memory is free. One event may be larger if
   * nothing else waits. A burst within one turn counts against `maxBurstBytes` instead.
   * On an `@Sse()` route, Nest's `maxPendingDataLength` stands for it if it is not set, and for `maxBurstBytes`. At least 1.
   * @defaultValue 1 MiB (1_048_576); on `@Sse()` routes 4 MiB, as many bytes as characters in Nest
   */
  maxBufferedBytes?: number;
  /**
   * Bytes of UTF-8 that may be sent within one turn of the event loop to a client that kept up before it, or
   * whose headers are not out yet: it has had no chance to read them. Past it the connection is closed with
   * the reason `slow`; so is a client that has not read a burst after 30 s. At least 1.
   * @defaultValue 16 MiB (16_777_216), or `maxBufferedBytes` if that is more
   */
  maxBurstBytes?: number;
  /**
   * Bytes of UTF-8 that one event may take on the wire, field names and line ends included. A larger
   * one is refused with an `SseError`, `event-too-large`. At least 1.
   * @defaultValue 1 MiB (1_048_576)
   */
  maxEventBytes?: number;
}

/** Options of `SseService.connect`, and of `SseService.stream` with more. */
export interface SseConnectOptions extends SseRouteOptions {
  /**
   * When the client's right to the stream runs out, as the expiry of its token. The connection is
   * ended then, as by `maxConnectionMs`, but not earlier.
   * @defaultValue never
   */
  expiresAt?: Date;
  /** The app's own: `connection.data`. */
  data?: unknown;
}

/** Options of `SseService.stream`. */
export interface SseStreamOptions<T = unknown> extends SseConnectOptions {
  /**
   * The protocol in which items, failures and the end are told: one by name, or one's own. With it a
   * stream that fails, or is ended before its source, ends with the format's own error and not with a cut.
   * @defaultValue none: an item is an event, or data; a failure is an `error` event and a cut
   */
  format?: StreamFormatName | StreamFormat<T>;
  /**
   * Name of an event that is sent last, with the data `{}`, when the source came to its end. A client that has
   * not got it has a broken answer: some proxies end a response that was cut as if it were complete. Not beside
   * a `format`, which tells the end in its own way.
   * @defaultValue none: the end of the response says it
   */
  doneEvent?: string;
}

/** Options of `SseRuns.attach`. */
export interface SseAttachOptions extends SseConnectOptions {
  /** Who attaches: it must be the owner that the run was started with. */
  owner?: string;
  /**
   * What a client gets of a run that has ended: all of it, or a 204.
   * @defaultValue `'replay'`; `'none'` for a GET of a run in the format `ai-sdk`, whose clients have saved it
   */
  ended?: 'replay' | 'none';
}

/** Options of `SseModule.forRoot`. */
export interface SseModuleOptions extends SseRouteOptions {
  /**
   * Connections that this process holds at once. Further clients are shed: a GET gets an empty
   * stream that tells it to come back in 15 to 45 s, any other method a 503 with `Retry-After`.
   * At least 1.
   * @defaultValue no limit
   */
  maxConnections?: number;
  /** How the streams end when the app closes. */
  drain?: {
    /**
     * Milliseconds to wait before the first stream is ended, so that a load balancer learns that
     * this instance leaves. New streams are still served. 0 to 2_147_483_647.
     * @defaultValue 0
     */
    delayMs?: number;
    /**
     * Milliseconds that a client has to read what was sent before its response is destroyed.
     * 0 to 2_147_483_647.
     * @defaultValue 1_000
     */
    timeoutMs?: number;
    /**
     * Milliseconds before which no client is told to come back: the time that a restart takes, if the
     * app has a single instance. 0 to 2_147_483_647.
     * @defaultValue 0
     */
    leastRetryMs?: number;
    /**
     * Milliseconds over which the clients are told to come back, each at a time of its own, counted
     * from `leastRetryMs`. 0 to 2_147_483_647.
     * @defaultValue 5_000
     */
    spreadMs?: number;
  };
  /**
   * The log of the app's topics and runs.
   * @defaultValue `memory()`: one process; after a restart a `reset` for every client, and no run
   */
  log?: EventLogFactory;
  /**
   * Whether a client may have an event of a topic. Asked for each event, live and at replay, so it
   * is synchronous and quick; one that throws, or says anything but true, is taken for false. It runs
   * in the async context in which the client followed: `AsyncLocalStorage` holds the client's own request.
   */
  authorize?: (topic: string, connection: SseConnection) => boolean;
  /**
   * Milliseconds that a client which follows topics, or is attached to a run, may read nothing at all before it is closed as `slow`.
   * @defaultValue 60_000
   */
  maxLagMs?: number;
  /**
   * Events that are replayed to one client at most; past it, it gets a `reset`.
   * @defaultValue 100_000
   */
  maxReplayEvents?: number;
  /**
   * The newest events of the log that each process keeps at hand, for clients that come back.
   * @defaultValue 10_000
   */
  ringEvents?: number;
  /**
   * Bytes that these may take, about: each counts three times its topic, type and data, for its frame
   * is kept as well, and 300 more. The newest event is kept whatever it takes; older ones are read
   * from the log, and what is read there for clients that come back may take as much again, for the
   * seconds in which others want the same.
   * @defaultValue 64 MiB (67_108_864)
   */
  ringBytes?: number;
  /**
   * Patterns that one connection may follow.
   * @defaultValue 100
   */
  maxPatterns?: number;
  /**
   * Name of the event that says that something is missing.
   * @defaultValue `'reset'`
   */
  resetEvent?: string;
  /**
   * Name of the event that tells a client its place in the log.
   * @defaultValue `'cursor'`
   */
  cursorEvent?: string;
  /** What all runs have in common: see `SseService.runs`. */
  runs?: {
    /**
     * Milliseconds after which a run is taken for one whose process is gone, if nothing is heard of that.
     * Each process that makes a run asks the log four times as often. 300 to 2_147_483_647.
     * @defaultValue 10_000
     */
    leaseMs?: number;
    /**
     * Bytes of each run that a process which makes it, or has clients of it, keeps at hand, counted as
     * `ringBytes`; what is older is read from the log. At least 1.
     * @defaultValue 8 MiB (8_388_608)
     */
    ringBytes?: number;
    /**
     * Runs that this process makes at once; a further one is refused with a 503. At least 1.
     * @defaultValue no limit
     */
    maxRuns?: number;
  };
  /**
   * Whether `@Sse()` routes are served by this package; `false` leaves them to Nest, without
   * `@Connection()` and `@SseOptions()`.
   * @defaultValue true
   */
  enhanceSseRoutes?: boolean;
}

/** All options, checked, with their defaults. */
export interface ResolvedOptions {
  connection: ConnectionSettings;
  sseRoutes: ConnectionSettings;
  maxConnections: number;
  drain: DrainSettings;
  enhanceSseRoutes: boolean;
  topics: TopicSettings;
  runs: RunsSettings;
  log: EventLogFactory;
}

const MIB = 1_048_576;
const checks = new OptionChecks();
// Nest's own default, in characters. With less, a route that bursts would lose clients by this package.
const SSE_ROUTE_BUFFERED_BYTES = 4 * MIB;

/**
 * @throws SseError `options-invalid` that names the option, what it must be and what was given
 */
export function resolveOptions(options: SseModuleOptions = {}): ResolvedOptions {
  checks.refuseUnknown(options, MODULE_FIELDS, 'SseModule');
  const { drain = {}, maxConnections } = options;
  if (typeof drain !== 'object' || drain === null) {
    throw checks.refusal('drain', 'an object', drain);
  }
  checks.refuseUnknown(drain, DRAIN_FIELDS, 'drain');
  const connection = resolveSettings(routeOptionsOf(options), DEFAULT_SETTINGS);
  const maxBufferedBytes = options.maxBufferedBytes ?? SSE_ROUTE_BUFFERED_BYTES;
  return {
    connection,
    sseRoutes: { ...connection, maxBufferedBytes },
    maxConnections: checks.atLeast('maxConnections', maxConnections, Infinity),
    drain: {
      delayMs: checks.timer('drain.delayMs', drain.delayMs, 0, 0),
      timeoutMs: checks.timer('drain.timeoutMs', drain.timeoutMs, 1_000, 0),
      leastRetryMs: checks.timer('drain.leastRetryMs', drain.leastRetryMs, 0, 0),
      spreadMs: checks.timer('drain.spreadMs', drain.spreadMs, 5_000, 0),
    },
    enhanceSseRoutes: checks.flag('enhanceSseRoutes', options.enhanceSseRoutes, true),
    topics: topicSettings(options, connection.maxEventBytes),
    runs: runsSettings(options, connection.maxEventBytes),
    log:
      checks.callable('log', options.log, 'what memory() or the entry point of an engine gives') ?? memory(),
  };
}

function topicSettings(options: SseModuleOptions, maxEventBytes: number): TopicSettings {
  return {
    resetEvent: eventName('resetEvent', options.resetEvent) ?? 'reset',
    cursorEvent: eventName('cursorEvent', options.cursorEvent) ?? 'cursor',
    maxEventBytes,
    maxReplayEvents: checks.atLeast('maxReplayEvents', options.maxReplayEvents, 100_000),
    ringEvents: checks.atLeast('ringEvents', options.ringEvents, 10_000),
    ringBytes: checks.atLeast('ringBytes', options.ringBytes, 64 * MIB),
    maxPatterns: checks.atLeast('maxPatterns', options.maxPatterns, 100),
    maxLagMs: checks.timer('maxLagMs', options.maxLagMs, 60_000),
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

/** @throws SseError `options-invalid` */
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
 * The settings of one connection: what is given, the rest from the defaults.
 *
 * @throws SseError `options-invalid`
 */
export function resolveSettings(
  options: SseConnectOptions,
  defaults: ConnectionSettings,
): ConnectionSettings {
  checks.refuseUnknown(options, CONNECT_FIELDS, 'A connection');
  // One object for all connections that are opened without options of their own, which is nearly all.
  if (!SETTING_FIELDS.some((field) => options[field] !== undefined)) {
    return defaults;
  }
  const { heartbeatMs, expiresAt } = options;
  if (expiresAt !== undefined && !(expiresAt instanceof Date && !Number.isNaN(expiresAt.getTime()))) {
    throw checks.refusal('expiresAt', 'a valid Date', expiresAt);
  }
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
      // One that is set for the app holds where a route sets something else.
      (options.maxBufferedBytes === undefined
        ? defaults.maxBurstBytes
        : Math.max(defaults.maxBurstBytes, maxBufferedBytes)),
    maxEventBytes: checks.atLeast('maxEventBytes', options.maxEventBytes, defaults.maxEventBytes),
    expiresAt: expiresAt ?? defaults.expiresAt,
  };
}

function heartbeat(value: number | false): number | false {
  return value === false ? false : checks.timer('heartbeatMs', value, value, 10, ', or false');
}

/**
 * The settings of a route.
 *
 * @throws SseError `options-invalid`
 */
export function resolveRouteSettings(
  options: SseRouteOptions,
  defaults: ConnectionSettings,
): ConnectionSettings {
  checks.refuseUnknown(options, ROUTE_FIELDS, 'A route');
  return resolveSettings(options, defaults);
}

const DEFAULT_SETTINGS: ConnectionSettings = {
  heartbeatMs: 15_000,
  retryMs: 3_000,
  maxConnectionMs: undefined,
  maxBufferedBytes: MIB,
  maxBurstBytes: 16 * MIB,
  maxEventBytes: MIB,
  expiresAt: undefined,
};

const ROUTE_FIELDS = [
  'heartbeatMs',
  'retryMs',
  'maxConnectionMs',
  'maxBufferedBytes',
  'maxBurstBytes',
  'maxEventBytes',
] as const;
const SETTING_FIELDS = [...ROUTE_FIELDS, 'expiresAt'] as const;
const CONNECT_FIELDS = [...SETTING_FIELDS, 'data'];
const MODULE_FIELDS = [
  ...ROUTE_FIELDS,
  'maxConnections',
  'drain',
  'enhanceSseRoutes',
  'log',
  'runs',
  'authorize',
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
  const { heartbeatMs, retryMs, maxConnectionMs, maxBufferedBytes, maxBurstBytes, maxEventBytes } = options;
  return { heartbeatMs, retryMs, maxConnectionMs, maxBufferedBytes, maxBurstBytes, maxEventBytes };
}
