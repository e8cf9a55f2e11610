import { MAX_TIMER_MS } from '../errors/index.js';
import type { ServerSockets } from '../http/index.js';
import { pause } from '../time/index.js';
import type { CloseReason, SseConnection } from './connection.js';

/** How the app closes its streams: see `drain` of the module's options. */
export interface DrainSettings {
  delayMs: number;
  timeoutMs: number;
  leastRetryMs?: number;
  spreadMs: number;
}

/** What a client is told that is not let in. */
export interface Refusal {
  /** When it may come back. */
  retryMs: number;
  reason: CloseReason;
}

/** The connections of a registry, as a drain sees them. */
export interface DrainedConnections {
  readonly open: Set<SseConnection>;
  /** Closed, with a response that still has bytes to deliver. */
  readonly leaving: Set<SseConnection>;
  /** Turned away, with a response that is held open. */
  readonly heldShed: Set<SseConnection>;
  /** Acts on each connection. What one throws does not concern the others. */
  forEach(connections: Iterable<SseConnection>, act: (connection: SseConnection) => void): void;
}

// How many are ended in one turn of the event loop; thousands would hold up everything else.
const ENDED_PER_TURN = 500;
// How long a destroyed response may take to emit 'close'.
const UNANSWERED_MS = 500;

/** The end of all connections, as the app closes. */
export class Drain {
  readonly #settings: DrainSettings;
  readonly #connections: DrainedConnections;
  readonly #sockets: ServerSockets;
  /** Connections that end once they have caught up with the log, with the time at which each may come back. */
  readonly #parting = new Map<SseConnection, number>();
  #hasBegun = false;
  #drained: Promise<void> | undefined;
  #onEmpty: (() => void) | undefined;

  constructor(settings: DrainSettings, connections: DrainedConnections, sockets: ServerSockets) {
    this.#settings = settings;
    this.#connections = connections;
    this.#sockets = sockets;
  }

  /** Whether new clients are turned away. */
  get hasBegun(): boolean {
    return this.#hasBegun;
  }

  /** What a client is told that comes now. */
  refusal(): Refusal {
    const { leastRetryMs = 0, spreadMs } = this.#settings;
    return { retryMs: leastRetryMs + Math.round(Math.random() * spreadMs), reason: 'shutdown' };
  }

  /**
   * Ends every connection. Each client is told its own time to come back, and what is left at `timeoutMs` is destroyed.
   * A second call returns the promise of the first: an app may be closed by a signal and by its own code.
   *
   * @param beforeEnding delivers what clients are still to get, before any of them is ended
   * @returns a promise that resolves when no connection is left
   */
  run(beforeEnding: () => Promise<void>): Promise<void> {
    this.#drained ??= this.#run(beforeEnding);
    return this.#drained;
  }

  /** The feed of a connection has delivered everything. */
  onCaughtUp(connection: SseConnection): void {
    const retryMs = this.#parting.get(connection);
    if (retryMs !== undefined) {
      this.#parting.delete(connection);
      connection.interrupt('shutdown', retryMs);
    }
  }

  /** A connection is disposed, and the registry has removed it. */
  onDisposed(connection: SseConnection): void {
    this.#parting.delete(connection);
    if (this.#isEmpty) {
      this.#onEmpty?.();
    }
  }

  async #run(beforeEnding: () => Promise<void>): Promise<void> {
    const { delayMs, timeoutMs } = this.#settings;
    if (delayMs > 0) {
      await pause(delayMs);
    }
    this.#hasBegun = true;
    this.#sockets.beginClosing();
    this.#connections.forEach([...this.#connections.heldShed], (connection) => connection.endHeld());
    const emptied = new Promise<void>((resolve) => {
      this.#onEmpty = resolve;
    });
    await beforeEnding();
    await this.#interruptAll();
    if (!this.#isEmpty) {
      const timers = [
        setTimeout(() => this.#destroyAll(), timeoutMs),
        // Wrappers around a response may swallow its 'close': the app closes nevertheless.
        setTimeout(() => this.#forgetAll(), Math.min(timeoutMs + UNANSWERED_MS, MAX_TIMER_MS)),
      ];
      await emptied;
      timers.forEach(clearTimeout);
    }
    this.#sockets.close();
  }

  get #isEmpty(): boolean {
    return this.#connections.open.size + this.#connections.leaving.size === 0;
  }

  async #interruptAll(): Promise<void> {
    const { leastRetryMs = 0, spreadMs } = this.#settings;
    const connections = [...this.#connections.open];
    for (const [index, connection] of connections.entries()) {
      // Evenly over the time, so that no two waves of clients arrive together.
      const retryMs = leastRetryMs + Math.floor((spreadMs * (index + Math.random())) / connections.length);
      if (connection.isBehind) {
        // What was accepted before the end is still on its way to it.
        this.#parting.set(connection, retryMs);
      } else {
        this.#connections.forEach([connection], () => connection.interrupt('shutdown', retryMs));
      }
      if (index % ENDED_PER_TURN === ENDED_PER_TURN - 1) {
        await new Promise<void>((resolve) => {
          setImmediate(resolve);
        });
      }
    }
  }

  #destroyAll(): void {
    this.#connections.forEach(this.#all(), (connection) => connection.destroy('shutdown'));
  }

  #forgetAll(): void {
    this.#connections.forEach(this.#all(), (connection) => connection.concludeUnanswered());
    this.#connections.open.clear();
    this.#connections.leaving.clear();
    this.#onEmpty?.();
  }

  #all(): SseConnection[] {
    return [...this.#connections.open, ...this.#connections.leaving];
  }
}
