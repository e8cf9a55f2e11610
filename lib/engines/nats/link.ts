import { setMaxListeners } from 'node:events';
import type { JetStreamManager } from '@nats-io/jetstream';
import type { MsgHdrs, NatsConnection, PublishOptions } from '@nats-io/transport-node';
import { optionalPeer } from '../index.js';
import { SseError } from '../../errors/index.js';
import { afterReading, pause } from '../../time/index.js';
import { closed, isTimeout, notReached, unavailable } from './failure.js';
import type { NatsSettings } from './options.js';

// Below these, streams do not keep what the log relies on.
const OLDEST_SERVER = [2, 9];
const RETRY_MS = 250;
const RECONNECT_MS = 250;
const PING_MS = 10_000;

interface Transport {
  readonly connect: (options: object) => Promise<NatsConnection>;
  readonly headers: () => MsgHdrs;
  readonly createInbox: (prefix?: string) => string;
}

interface JetStream {
  readonly jetstreamManager: (connection: NatsConnection, options: object) => Promise<JetStreamManager>;
}

type Libraries = Transport & JetStream;

/** The connection of one store: its own, or the app's. */
export class NatsLink {
  readonly #settings: NatsSettings;
  readonly #prepare: () => Promise<void>;
  readonly #closed = new AbortController();
  readonly #requests = new Set<Promise<unknown>>();
  readonly #listeners = new Set<(isConnected: boolean) => void>();
  readonly #started: Promise<void>;
  #libraries: Libraries | undefined;
  #connection: NatsConnection | undefined;
  #manager: JetStreamManager | undefined;
  #stopWatching: (() => void) | undefined;
  #isConnected = false;
  #hasStarted = false;
  #isProbing = false;

  /** @param prepare - what must be done on the first connection before anything else is */
  constructor(settings: NatsSettings, prepare: () => Promise<void>) {
    this.#settings = settings;
    this.#prepare = prepare;
    // One for each request under way: with many runs that is no leak.
    setMaxListeners(0, this.#closed.signal);
    this.#started = this.#start();
    // Whoever asks for something hears of it; where nobody asks it is no unhandled rejection.
    this.#started.catch(() => undefined);
  }

  get signal(): AbortSignal {
    return this.#closed.signal;
  }

  get requestTimeoutMs(): number {
    return this.#settings.requestTimeoutMs;
  }

  get hasStarted(): boolean {
    return this.#hasStarted;
  }

  get isConnected(): boolean {
    // A connection forgets the server's greeting in the moment in which it dials again, before it says so.
    return this.#isConnected && this.#connection?.info !== undefined;
  }

  get connection(): NatsConnection {
    return this.#connection!;
  }

  get manager(): JetStreamManager {
    return this.#manager!;
  }

  /** The longest message that the server takes, in bytes. */
  get maxPayload(): number {
    return this.#connection?.info?.max_payload ?? 1_048_576;
  }

  headers(): MsgHdrs {
    return this.#libraries!.headers();
  }

  /** A subject that nobody else has. */
  inbox(): string {
    // Where the account allows its own prefix alone, the connection has it in its options, as the libraries look it up.
    const { options } = this.connection as { options?: { inboxPrefix?: string } };
    return this.#libraries!.createInbox(options?.inboxPrefix);
  }

  onConnection(listener: (isConnected: boolean) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /**
   * Resolves when the log can be used.
   *
   * @param withinMs - for as long as the start may take where it is left out
   * @throws SseError
   */
  async whenStarted(withinMs?: number): Promise<void> {
    if (this.#closed.signal.aborted) {
      throw closed(true);
    }
    if (this.#hasStarted || withinMs === undefined) {
      return this.#started;
    }
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(
        () => reject(new SseError('log-unavailable', 'NATS cannot be reached yet.')),
        withinMs,
      );
    });
    await Promise.race([this.#started, late]).finally(() => clearTimeout(timer));
  }

  /**
   * Asks the server for something, by a call that has its own deadline.
   *
   * @throws what JetStream refused with; SseError `log-unavailable`, `closed`
   */
  async request<T>(ask: (manager: JetStreamManager) => Promise<T>): Promise<T> {
    await this.#whenConnected();
    const asking = ask(this.manager);
    this.#requests.add(asking);
    try {
      return await asking;
    } catch (error) {
      this.#refuseIfClosed();
      if (isTimeout(error)) {
        void this.#probe();
      }
      throw error;
    } finally {
      this.#requests.delete(asking);
    }
  }

  /**
   * Publishes something where that is possible.
   *
   * @returns false where it was not sent: there is no server, or the app has begun to drain its connection
   */
  send(subject: string, data?: Uint8Array | string, options?: PublishOptions): boolean {
    if (!this.isConnected) {
      return false;
    }
    try {
      this.connection.publish(subject, data, options);
      return true;
    } catch {
      // The reason is of no use to anybody: whoever needs an answer has a deadline for it.
      return false;
    }
  }

  /** Leaves the connection to the app, or ends it where it is ours. */
  async close(): Promise<void> {
    this.#closed.abort();
    // A start that has failed is told to the app by `whenStarted`; here its end is waited for.
    await this.#started.catch(() => undefined);
    await this.#release();
    // Requests on a connection of the app have timers of their own.
    await Promise.allSettled(this.#requests);
  }

  async #release(): Promise<void> {
    this.#stopWatching?.();
    this.#listeners.clear();
    this.#isConnected = false;
    const connection = this.#connection;
    if (connection && !connection.isClosed() && connection.info) {
      // What was just given up on the server is on its way before the connection goes.
      const flushing = connection.flush().catch(() => undefined);
      await Promise.race([flushing, pause(this.requestTimeoutMs, abortedBy(flushing))]);
    }
    if (connection && !this.#settings.connection) {
      await connection.close();
    }
  }

  async #start(): Promise<void> {
    const { startTimeoutMs } = this.#settings;
    const deadline = performance.now() + startTimeoutMs;
    for (;;) {
      try {
        await this.#attempt(deadline);
        this.#refuseIfClosed();
        this.#hasStarted = true;
        return;
      } catch (error) {
        const isFinal = error instanceof SseError && error.code !== 'log-unavailable';
        if (isFinal || this.#closed.signal.aborted || performance.now() + RETRY_MS >= deadline) {
          await this.#release();
          throw isFinal ? error : this.#startError(error);
        }
        await pause(RETRY_MS, this.#closed.signal);
      }
    }
  }

  #startError(error: unknown): SseError {
    if (this.#closed.signal.aborted) {
      return closed(true);
    }
    const { startTimeoutMs } = this.#settings;
    const { message } = unavailable(error);
    return new SseError(
      'log-unavailable',
      `NATS could not be used within startTimeoutMs (${startTimeoutMs}) at start: ${message}`,
      { cause: error, isOutcomeKnown: true },
    );
  }

  async #attempt(deadline: number): Promise<void> {
    this.#libraries ??= await loadLibraries();
    if (!this.#connection) {
      this.#connection = await this.#open(this.#libraries, deadline);
      this.#watch(this.#connection);
    }
    const { info } = this.#connection;
    if (!info) {
      throw new SseError('log-unavailable', 'The connection has no server.');
    }
    refuseOld(info.version);
    this.#manager ??= await this.#libraries.jetstreamManager(this.#connection, {
      timeout: this.#settings.requestTimeoutMs,
      checkAPI: false,
    });
    await this.#prepare();
  }

  async #open({ connect }: Libraries, deadline: number): Promise<NatsConnection> {
    const { connection, servers, requestTimeoutMs } = this.#settings;
    if (connection) {
      if (connection.isClosed()) {
        throw new SseError('options-invalid', 'connection of nats() is closed.', { field: 'connection' });
      }
      return connection as NatsConnection;
    }
    const timeout = Math.max(1, Math.min(requestTimeoutMs, deadline - performance.now()));
    let isOpened = false;
    const opened = await connect({
      servers,
      name: 'nestjs-event-stream',
      timeout,
      maxReconnectAttempts: -1,
      // Left to itself the library waits by the clock of the day: set back by an hour, it dials no more for an hour. It
      // finds its time come at once, and the pause is of a timer.
      reconnectDelayHandler: () => -Infinity,
      reconnectToServer: () => (isOpened ? { server: null, delay: RECONNECT_MS } : null),
      pingInterval: PING_MS,
      // A stack for each request costs more than the request.
      noAsyncTraces: true,
    }).catch((error: unknown) => {
      throw notReached(error, hostsOf(servers), timeout);
    });
    isOpened = true;
    if (this.#closed.signal.aborted) {
      await opened.close();
    }
    return opened;
  }

  #watch(connection: NatsConnection): void {
    const statuses = connection.status();
    this.#stopWatching = () => (statuses as { stop?: () => void }).stop?.();
    void this.#hear(statuses);
    this.#set(connection.info !== undefined);
  }

  async #hear(statuses: AsyncIterable<{ type: string }>): Promise<void> {
    for await (const { type } of statuses) {
      if (type === 'disconnect' || type === 'close') {
        this.#set(false);
      } else if (type === 'reconnect') {
        this.#set(true);
      }
    }
  }

  #set(isConnected: boolean): void {
    this.#isConnected = isConnected;
    for (const listener of this.#listeners) {
      listener(isConnected);
    }
  }

  /** Gives up a connection of ours on which nothing comes back: left to its pings, that would take longer. */
  async #probe(): Promise<void> {
    if (this.#isProbing || this.#settings.connection || !this.isConnected) {
      return;
    }
    this.#isProbing = true;
    const { connection } = this;
    let isAnswered = false;
    // A flush that fails says that the connection is being made anew.
    const flushing = connection
      .flush()
      .catch(() => undefined)
      .then(() => (isAnswered = true));
    await pause(this.requestTimeoutMs, AbortSignal.any([abortedBy(flushing), this.signal]));
    await new Promise<void>(afterReading);
    this.#isProbing = false;
    if (!isAnswered && !this.#closed.signal.aborted && !connection.isClosed()) {
      await connection.reconnect();
    }
  }

  /** A request on a connection that dials would be dropped in some moments, and wait in vain for its answer. */
  async #whenConnected(): Promise<void> {
    this.#refuseIfClosed();
    if (this.isConnected) {
      return;
    }
    const waiting = new AbortController();
    const end = () => waiting.abort();
    const stopHearing = this.onConnection(end);
    this.signal.addEventListener('abort', end);
    await pause(this.requestTimeoutMs, waiting.signal);
    this.signal.removeEventListener('abort', end);
    stopHearing();
    this.#refuseIfClosed();
    if (!this.isConnected) {
      throw new SseError('log-unavailable', 'NATS is away: there is no connection.');
    }
  }

  #refuseIfClosed(): void {
    if (this.#closed.signal.aborted) {
      throw closed(true);
    }
  }
}

function abortedBy(ending: Promise<unknown>): AbortSignal {
  const ended = new AbortController();
  void ending.then(() => ended.abort());
  return ended.signal;
}

/** Without the password that a URL may hold. */
function hostsOf(servers: string | readonly string[] | undefined): string {
  return [servers ?? []]
    .flat()
    .map((server) => server.replace(/^.*(\/\/|@)/, ''))
    .join(' or ');
}

async function loadLibraries(): Promise<Libraries> {
  const names = ['@nats-io/transport-node', '@nats-io/jetstream'];
  const found = await Promise.all(names.map(optionalPeer));
  const missing = names.filter((_name, index) => found[index] === undefined);
  if (missing.length > 0) {
    throw new SseError(
      'options-invalid',
      `nats() needs ${missing.join(' and ')} installed. Run: npm install ${missing.join(' ')}`,
    );
  }
  const [transport, jetstream] = found as [Transport, JetStream];
  const { connect, headers, createInbox } = transport;
  return { connect, headers, createInbox, jetstreamManager: jetstream.jetstreamManager };
}

/** @throws SseError `options-invalid` */
export function refuseOld(version: string): void {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major < OLDEST_SERVER[0]! || (major === OLDEST_SERVER[0] && minor < OLDEST_SERVER[1]!)) {
    throw new SseError(
      'options-invalid',
      `nats() needs nats-server ${OLDEST_SERVER.join('.')} or later, and this one is ${version}.`,
      { field: 'servers' },
    );
  }
}
