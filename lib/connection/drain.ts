import { MAX_TIMER_MS } from '../errors/index.js';
import type { ServerSockets } from '../http/index.js';
import { pause } from '../time/index.js';
import type { CloseReason } from './connection.js';
import type { EventStreamResponse } from './event-stream-response.js';

/** How the app closes its streams: see `drain` of the module's options. */
export interface DrainSettings {
  delayMs: number;
  timeoutMs: number;
  leastRetryMs?: number;
  spreadMs: number;
}

/** What a client that is turned away is told. */
export interface Refusal {
  /** When it may come back. */
  retryMs: number;
  reason: CloseReason;
}

/** The connections of a registry, as a drain sees them. */
export interface DrainedResponses {
  readonly open: Set<EventStreamResponse>;
  /** Closed, with a response that still has bytes to deliver. */
  readonly flushing: Set<EventStreamResponse>;
  /** Turned away, with a response that is held open. */
  readonly heldShed: Set<EventStreamResponse>;
  /** Acts on each response. What one throws does not concern the others. */
  forEach(responses: Iterable<EventStreamResponse>, act: (response: EventStreamResponse) => void): void;
}

// How many are ended in one turn of the event loop; thousands would hold up everything else.
const ENDED_PER_TURN = 500;
// How long a destroyed response may take to emit 'close'.
const UNANSWERED_MS = 500;

/** The end of all connections, as the app closes. */
export class Drain {
  readonly #settings: DrainSettings;
  readonly #responses: DrainedResponses;
  readonly #sockets: ServerSockets;
  /** Connections that end once they have caught up with the log, with the time at which each may come back. */
  readonly #parting = new Map<EventStreamResponse, number>();
  #hasBegun = false;
  #drained: Promise<void> | undefined;
  #onEmpty: (() => void) | undefined;

  constructor(settings: DrainSettings, responses: DrainedResponses, sockets: ServerSockets) {
    this.#settings = settings;
    this.#responses = responses;
    this.#sockets = sockets;
  }

  /** Whether {@link run} was called. New clients are still served for `delayMs`. */
  get isRunning(): boolean {
    return this.#drained !== undefined;
  }

  /** Whether new clients are turned away. */
  get hasBegun(): boolean {
    return this.#hasBegun;
  }

  /** Returns what a client is told that connects after the drain has begun. */
  refusal(): Refusal {
    const { leastRetryMs = 0, spreadMs } = this.#settings;
    return { retryMs: leastRetryMs + Math.round(Math.random() * spreadMs), reason: 'shutdown' };
  }

  /**
   * Ends every response. Each client is told its own time to come back, and what is left at `timeoutMs` is destroyed.
   * A second call returns the promise of the first: an app may be closed by a signal and by its own code.
   *
   * @param beforeEnding - delivers what clients are still to get, before any of them is ended
   * @returns a promise that resolves when no connection is left
   */
  run(beforeEnding: () => Promise<void>): Promise<void> {
    this.#drained ??= this.#run(beforeEnding);
    return this.#drained;
  }

  /** The feed of a connection has delivered everything. */
  onCaughtUp(response: EventStreamResponse): void {
    const retryMs = this.#parting.get(response);
    if (retryMs !== undefined) {
      this.#parting.delete(response);
      response.interrupt('shutdown', retryMs);
    }
  }

  /** A connection is disposed, and the registry has removed it. */
  onDisposed(response: EventStreamResponse): void {
    this.#parting.delete(response);
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
    this.#responses.forEach([...this.#responses.heldShed], (response) => response.endHeld());
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
    return this.#responses.open.size + this.#responses.flushing.size === 0;
  }

  async #interruptAll(): Promise<void> {
    const { leastRetryMs = 0, spreadMs } = this.#settings;
    const responses = [...this.#responses.open];
    for (const [index, response] of responses.entries()) {
      // Evenly over the time, so that no two waves of clients arrive together.
      const retryMs = leastRetryMs + Math.floor((spreadMs * (index + Math.random())) / responses.length);
      if (response.isBehind) {
        // Events that were accepted before the end are still on their way to the client.
        this.#parting.set(response, retryMs);
      } else {
        this.#responses.forEach([response], () => response.interrupt('shutdown', retryMs));
      }
      if (index % ENDED_PER_TURN === ENDED_PER_TURN - 1) {
        await new Promise<void>((resolve) => {
          setImmediate(resolve);
        });
      }
    }
  }

  #destroyAll(): void {
    this.#responses.forEach(this.#all(), (response) => response.destroy('shutdown'));
  }

  #forgetAll(): void {
    this.#responses.forEach(this.#all(), (response) => response.disposeUnanswered());
    this.#responses.open.clear();
    this.#responses.flushing.clear();
    this.#onEmpty?.();
  }

  #all(): EventStreamResponse[] {
    return [...this.#responses.open, ...this.#responses.flushing];
  }
}
