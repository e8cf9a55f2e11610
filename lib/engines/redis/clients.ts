import { optionalPeer } from '../index.js';
import type { OpenConnection } from '../index.js';
import { show, SseError } from '../../errors/index.js';

/** One connection to Redis. It is opened once, and not again after it is lost: see `RedisLink`. */
export interface RedisConnection {
  /** Sends a command. Replies have the types of RESP2: arrays, strings, numbers, null. */
  send(args: readonly string[]): Promise<unknown>;
  /** Whether commands without a key reach the server of the log. In a Cluster they do not. */
  readonly isOneServer: boolean;
  destroy(): void;
}

/** A client of ioredis: `Redis` or `Cluster`. */
interface IoRedis {
  readonly isCluster?: boolean;
  readonly options: { redisOptions?: object; sentinels?: readonly object[] | null };
  duplicate(override: object): IoRedis;
  duplicate(startupNodes: readonly [], override: object): IoRedis;
  connect(): Promise<void>;
  disconnect(): void;
  on(event: 'error', listener: (error: Error) => void): unknown;
  call(command: string, ...args: string[]): Promise<unknown>;
}

/** A client of node-redis: the result of `createClient()`, `createCluster()` or `createSentinel()`. */
interface NodeRedis {
  readonly options?: { socket?: object };
  readonly isOpen: boolean;
  duplicate(override: object): NodeRedis;
  connect(): Promise<unknown>;
  destroy(): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  sendCommand(...args: unknown[]): Promise<unknown>;
}

/** The time to connect to a Sentinel and get its answer. */
const SENTINEL_MS = 1_000;
/** The time in which a connection must close before it is destroyed. */
const DISCONNECT_MS = 100;

// By shape: the app may have another copy of the library.
function has(client: object, ...methods: string[]): boolean {
  return methods.every((method) => typeof Reflect.get(client, method) === 'function');
}

function isIoRedis(client: object): client is IoRedis {
  return has(client, 'duplicate', 'connect', 'disconnect', 'call');
}

function isNodeRedis(client: object): client is NodeRedis {
  return has(client, 'duplicate', 'connect', 'destroy', 'sendCommand');
}

export function isRedisClient(client: unknown): client is object {
  return typeof client === 'object' && client !== null && (isIoRedis(client) || isNodeRedis(client));
}

/** Returns whether a client cannot be duplicated, as a Sentinel of node-redis 5. */
export function isSingleClient(client: unknown): boolean {
  return typeof client === 'object' && client !== null && has(client, 'connect', 'destroy', 'sendCommand');
}

/** Makes connections by duplicating the app's client, or by calling the app's function. */
export function connectionsOf(client: object | (() => object)): OpenConnection<RedisConnection> {
  if (typeof client === 'function') {
    return (abandoned) => openMade((client as () => object)(), abandoned);
  }
  if (isIoRedis(client)) {
    let opened = 0;
    return Object.assign((abandoned: AbortSignal) => openIoRedis(client, abandoned, opened++), {
      server: serverOf(client),
    });
  }
  return Object.assign((abandoned: AbortSignal) => openNodeRedis(client as NodeRedis, abandoned), {
    server: serverOf(client),
  });
}

/** Returns the server of a client, if its options have it. A Cluster's and a Sentinel's do not. */
function serverOf(client: { isCluster?: boolean; options?: Place & ClientOptions }): string | undefined {
  const { url, socket, sentinels, ...place } = client.options ?? {};
  if (client.isCluster || sentinels) {
    return undefined;
  }
  return url === undefined ? placeOf(socket ?? place) : hostOf(url);
}

interface ClientOptions {
  readonly url?: string;
  readonly socket?: Place;
  readonly sentinels?: readonly object[] | null;
}

interface Place {
  readonly host?: string;
  readonly port?: number;
  readonly path?: string;
}

function placeOf({ host, port = 6379, path }: Place): string | undefined {
  return path ?? (host === undefined ? undefined : `${host}:${port}`);
}

/** Returns the server without the password of its URL. */
function hostOf(url: string): string | undefined {
  return URL.canParse(url) ? new URL(url).host : undefined;
}

async function openMade(made: unknown, abandoned: AbortSignal): Promise<RedisConnection> {
  if (isRedisClient(made)) {
    const opening = connectionsOf(made)(abandoned);
    // The app's client is only a pattern. A client of ioredis connects by itself when it is made; its errors do not
    // matter, since each connection of ours reports its own.
    if (isIoRedis(made)) {
      made.on('error', () => undefined);
      made.disconnect();
    }
    return opening;
  }
  if (isSingleClient(made)) {
    return connectNodeRedis(made as NodeRedis, abandoned);
  }
  throw new SseError(
    'options-invalid',
    `The function that redis() was given as client must return a client of ioredis or node-redis, got ${show(made)}.`,
    { field: 'client' },
  );
}

/** Makes connections to a server, with the library that is installed. */
export function connectionsTo(url: string): OpenConnection<RedisConnection> {
  let opening: Promise<OpenConnection<RedisConnection>> | undefined;
  const open = async (abandoned: AbortSignal) => {
    opening ??= clientFor(url).then(connectionsOf);
    return (await opening)(abandoned);
  };
  return Object.assign(open, { server: hostOf(url) });
}

async function clientFor(url: string): Promise<object> {
  const ioredis = await optionalPeer('ioredis');
  if (ioredis) {
    const { Redis } = ioredis as { Redis: new (url: string, options: object) => object };
    return new Redis(url, { lazyConnect: true });
  }
  const redis = await optionalPeer('redis');
  if (redis) {
    const { createClient } = redis as { createClient: (options: object) => object };
    return createClient({ url });
  }
  throw new SseError(
    'options-invalid',
    'redis({ url }) needs a client library, and neither ioredis nor redis is installed. Run: npm install ioredis. ' +
      'A bundler packs neither, since they are named at run time alone: in a bundle, import the library yourself and ' +
      'hand over its client: redis({ client: new Redis(url) }), with the Redis of ioredis.',
    { field: 'url' },
  );
}

function rotated<T>(list: readonly T[], by: number): T[] {
  const start = by % list.length;
  return [...list.slice(start), ...list.slice(0, start)];
}

/** Listens to the errors of a client, and keeps the first one. */
function firstFailure(client: IoRedis | NodeRedis): { readonly failure: Error | undefined } {
  const kept: { failure: Error | undefined } = { failure: undefined };
  client.on('error', (error) => {
    kept.failure ??= error;
  });
  return kept;
}

async function openIoRedis(
  client: IoRedis,
  abandoned: AbortSignal,
  opened: number,
): Promise<RedisConnection> {
  abandoned.throwIfAborted();
  const { sentinels } = client.options;
  const connection = {
    // A command that is resent after its reply was lost runs twice. A queued command outlives its deadline.
    autoResendUnfulfilledCommands: false,
    enableOfflineQueue: false,
    retryStrategy: () => null,
    reconnectOnError: null,
    sentinelRetryStrategy: () => null,
    // By default it waits while a server loads its data. The caller must get the error.
    enableReadyCheck: false,
    enableAutoPipelining: false,
    commandTimeout: undefined,
    blockingTimeout: undefined,
    socketTimeout: undefined,
    // Its timer outlives a refused connection. Our caller has a time limit.
    connectTimeout: 0,
    // It asks them in order. A silent Sentinel must not be the first one each time.
    ...(sentinels && {
      sentinels: rotated(sentinels, opened),
      connectTimeout: SENTINEL_MS,
      sentinelCommandTimeout: SENTINEL_MS,
    }),
    disconnectTimeout: DISCONNECT_MS,
    keyPrefix: '',
    monitor: false,
    readOnly: false,
    protocol: 2,
    stringNumbers: false,
  };
  const isCluster = client.isCluster === true;
  const duplicate = isCluster
    ? client.duplicate([], {
        lazyConnect: true,
        clusterRetryStrategy: () => null,
        enableOfflineQueue: false,
        enableAutoPipelining: false,
        keyPrefix: '',
        scaleReads: 'master',
        redisOptions: { ...client.options.redisOptions, ...connection },
      })
    : client.duplicate({ ...connection, lazyConnect: true });
  // Without a listener the library prints each failure.
  const connected = firstFailure(duplicate);
  const abandon = () => duplicate.disconnect();
  abandoned.addEventListener('abort', abandon);
  try {
    await duplicate.connect();
  } catch (error) {
    duplicate.disconnect();
    // The library's rejection says only that the connection is closed.
    throw connected.failure ?? error;
  } finally {
    abandoned.removeEventListener('abort', abandon);
  }
  return {
    isOneServer: !isCluster,
    send: ([command, ...args]) => duplicate.call(command!, ...args),
    destroy: () => duplicate.disconnect(),
  };
}

async function openNodeRedis(client: NodeRedis, abandoned: AbortSignal): Promise<RedisConnection> {
  const duplicate = client.duplicate(
    has(client, 'nodeClient') || has(client, 'getSentinelNode')
      ? { RESP: 2, clientSideCache: undefined, commandOptions: undefined, masterPoolSize: 1 }
      : {
          RESP: 2,
          disableOfflineQueue: true,
          socket: {
            ...client.options?.socket,
            reconnectStrategy: false,
            connectTimeout: undefined,
            socketTimeout: undefined,
          },
          keyPrefix: '',
          pingInterval: undefined,
          commandOptions: undefined,
          // They need RESP3.
          maintNotifications: 'disabled',
          clientSideCache: undefined,
          emitInvalidate: false,
        },
  );
  return connectNodeRedis(duplicate, abandoned);
}

async function connectNodeRedis(client: NodeRedis, abandoned: AbortSignal): Promise<RedisConnection> {
  const isCluster = has(client, 'nodeClient');
  const isSentinel = has(client, 'getSentinelNode');
  abandoned.throwIfAborted();
  // Without a listener an 'error' event crashes the process.
  const connected = firstFailure(client);
  const destroy = () => {
    if (client.isOpen) {
      // A Sentinel's `destroy` takes time. The connection is not used any more, so its failure changes nothing.
      Promise.resolve(client.destroy()).catch(() => undefined);
    }
  };
  abandoned.addEventListener('abort', destroy);
  try {
    await client.connect();
  } catch (error) {
    destroy();
    throw connected.failure ?? error;
  } finally {
    abandoned.removeEventListener('abort', destroy);
  }
  return {
    isOneServer: !isCluster,
    send: (args) => {
      if (isCluster) {
        return client.sendCommand(keyOf(args), false, args);
      }
      return isSentinel ? client.sendCommand(false, args) : client.sendCommand(args);
    },
    destroy,
  };
}

/** Returns the key by which a Cluster finds the server. All keys of a log have one slot. */
function keyOf(args: readonly string[]): string | undefined {
  return args.find((arg) => arg.startsWith('{'));
}
