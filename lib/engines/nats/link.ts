import { setMaxListeners } from 'node:events';
import type { JetStreamManager } from '@nats-io/jetstream';
import type { MsgHdrs, NatsConnection, PublishOptions } from '@nats-io/transport-node';
import { optionalPeer } from '../index.js';
import { SseError } from '../../errors/index.js';
import { afterReading, pause } from '../../time/index.js';
import { closeDialed, closeIfFailed } from './dial.js';
import { closed, isTimeout, notReached, unavailable } from './failure.js';
import type { NatsSettings } from './options.js';

// Streams of older servers lack features that the log relies on.
const OLDEST_SERVER = [2, 9];
const RETRY_MS = 250;
const RECONNECT_MS = 250;
const PING_MS = 10_000;

/** An option that limits how long a call waits for the start. */
type StartLimit = 'requestTimeoutMs' | 'publishTimeoutMs';

interface Transport {
  readonly connect: (options: object) => Promise<NatsConnection>;
  readonly headers: () => MsgHdrs;
  readonly createInbox: (prefix?: string) => string;
}

interface JetStream {
  readonly jetstreamManager: (connection: NatsConnection, options: object) => Promise<JetStreamManager>;
}

type Libraries = Transport & JetStream;

/** The connection of a store: its own, or the app's. */
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
  /** What the start waits for, and why its last attempt has failed. */
  #awaited: string;
  #lastFailure: string | undefined;
  #isProbing = false;
  #losses = 0;

  /** @param prepare - runs on the first connection, before any other request */
  constructor(settings: NatsSettings, prepare: () => Promise<void>) {
    this.#settings = settings;
    this.#prepare = prepare;
    this.#awaited = connectionOf(settings);
    // One listener for each pending request: with many runs that is no leak.
    setMaxListeners(0, this.#closed.signal);
    this.#started = this.#start();
    // `whenStarted` rejects with the failure, and the store reports it as its health. Here it must only be no unhandled
    // rejection.
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
    // A connection drops the server's info when it dials again, before it emits an event.
    return this.#isConnected && this.#connection?.info !== undefined;
  }

  /** How often the connection was lost: answers from before and after a loss may come from different servers. */
  get losses(): number {
    return this.#losses;
  }

  get connection(): NatsConnection {
    return this.#connection!;
  }

  get manager(): JetStreamManager {
    return this.#manager!;
  }

  /** The server's largest message, in bytes. */
  get maxPayload(): number {
    return this.#connection?.info?.max_payload ?? 1_048_576;
  }

  headers(): MsgHdrs {
    return this.#libraries!.headers();
  }

  /** Makes a unique subject for answers. */
  inbox(): string {
    // If the account allows only its own inbox prefix, the connection's options have it.
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
   * @param limit - the option that limits the wait; without it the wait is as long as the start may take
   * @throws SseError
   */
  async whenStarted(limit?: StartLimit): Promise<void> {
    if (this.#closed.signal.aborted) {
      throw closed(true);
    }
    if (this.#hasStarted || limit === undefined) {
      return this.#started;
    }
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => afterReading(() => reject(this.#notReady(limit))), this.#settings[limit]);
    });
    await Promise.race([this.#started, late]).finally(() => clearTimeout(timer));
  }

  /**
   * Makes a request to the server. The call has its own deadline.
   *
   * @throws JetStream's error; SseError `log-unavailable`, `closed`
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
   * Publishes a message, if it can be sent.
   *
   * @returns false if it was not sent: there is no connection, or the app has begun to drain it
   */
  send(subject: string, data?: Uint8Array | string, options?: PublishOptions): boolean {
    if (!this.isConnected) {
      return false;
    }
    try {
      this.connection.publish(subject, data, options);
      return true;
    } catch {
      // A call that needs an answer has a deadline, which reports the failure.
      return false;
    }
  }

  /** Closes the connection if it is ours. The app's connection stays open. */
  async close(): Promise<void> {
    this.#closed.abort();
    // `whenStarted` has reported a failed start. This only waits for its end.
    await this.#started.catch(() => undefined);
    await this.#release();
    // Requests on the app's connection have timers of their own.
    await Promise.allSettled(this.#requests);
  }

  #notReady(limit: StartLimit): SseError {
    const reason =
      this.#lastFailure === undefined ? '' : ` The last attempt has failed: ${this.#lastFailure}`;
    return new SseError(
      'log-unavailable',
      `NATS is not ready: after ${this.#settings[limit]} ms (${limit}) the start of the log still waits for ${this.#awaited}.${reason}`,
    );
  }

  async #release(): Promise<void> {
    this.#stopWatching?.();
    this.#listeners.clear();
    this.#isConnected = false;
    const connection = this.#connection;
    if (connection && !connection.isClosed() && connection.info) {
      // Pending deletes on the server are sent before the connection closes. If that fails, the server deletes unused
      // consumers by itself.
      const flushing = connection.flush().catch(() => undefined);
      await Promise.race([flushing, pause(this.requestTimeoutMs, abortedBy(flushing))]);
    }
    if (connection && !this.#settings.connection) {
      await connection.close();
      closeDialed(connection);
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
        this.#lastFailure = unavailable(error).message;
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
    this.#awaited = `the stream "${this.#settings.prefix}-${this.#settings.log}"`;
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
    const opened = await closeIfFailed(() =>
      connect({
        servers,
        name: 'nestjs-event-stream',
        timeout,
        maxReconnectAttempts: -1,
        // The library waits by the wall clock: set back by an hour, it would not dial for an hour. Its own wait is over
        // at once, and this pause uses a timer.
        reconnectDelayHandler: () => -Infinity,
        reconnectToServer: () => (isOpened ? { server: null, delay: RECONNECT_MS } : null),
        pingInterval: PING_MS,
        // A stack for each request costs more than the request.
        noAsyncTraces: true,
      }),
    ).catch((error: unknown) => {
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
    void this.#followStatus(statuses);
    this.#set(connection.info !== undefined);
  }

  async #followStatus(statuses: AsyncIterable<{ type: string }>): Promise<void> {
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
    this.#losses += isConnected ? 0 : 1;
    for (const listener of this.#listeners) {
      listener(isConnected);
    }
  }

  /** Closes our connection if no answer comes back. The library's own pings would take longer. */
  async #probe(): Promise<void> {
    if (this.#isProbing || this.#settings.connection || !this.isConnected) {
      return;
    }
    this.#isProbing = true;
    const { connection } = this;
    let isAnswered = false;
    // A failed flush means that the library dials again already.
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

  /** Waits for a connection. While it is dialing, a request may be dropped and would wait in vain for its answer. */
  async #whenConnected(): Promise<void> {
    this.#refuseIfClosed();
    if (this.isConnected) {
      return;
    }
    const waiting = new AbortController();
    const end = () => waiting.abort();
    const stopListening = this.onConnection(end);
    this.signal.addEventListener('abort', end);
    await pause(this.requestTimeoutMs, waiting.signal);
    this.signal.removeEventListener('abort', end);
    stopListening();
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

function connectionOf({ servers }: NatsSettings): string {
  return servers ? `a connection to ${hostsOf(servers)}` : "the app's connection";
}

function abortedBy(ending: Promise<unknown>): AbortSignal {
  const ended = new AbortController();
  void ending.then(() => ended.abort());
  return ended.signal;
}

/** Returns the servers without the passwords of their URLs. */
function hostsOf(servers: readonly string[] = []): string {
  return servers.map((server) => server.replace(/^.*(\/\/|@)/, '')).join(' or ');
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
