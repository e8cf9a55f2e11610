import { afterReading } from '../time/index.js';
import { cannotReach, unreachable } from './unreachable.js';

const FIRST_WAIT_MS = 20;
const LONGEST_WAIT_MS = 1_000;

/** Opens a connection. Rejects when the signal aborts. */
export interface OpenConnection<Connection> {
  (abandoned: AbortSignal): Promise<Connection>;
  /** The server, `host:port`, for errors; undefined if it is found out later. */
  readonly server?: string;
}

/** Whether a request that failed may have been carried out all the same. */
export interface FailureOptions {
  readonly cause?: unknown;
  readonly mayHaveRun: boolean;
  /** Whether there was no connection. The message then names the server. */
  readonly isUnreached?: boolean;
}

/** The failure of a request. */
interface EngineFailure extends Error {
  /** Whether the connection must be replaced. */
  readonly isOfConnection: boolean;
}

/** A wait with a time limit, and whether the request may have been carried out if it is over. */
interface Wait extends FailureOptions {
  readonly what: string;
}

const CLOSED = 'The log is closed';

/**
 * One connection at a time to the server of an engine. It is opened when needed, and replaced at the first failure.
 * After failures it waits up to a second, for a random time, so that processes do not reconnect together.
 */
export abstract class EngineLink<
  Connection extends { destroy(): void },
  Failure extends EngineFailure = EngineFailure,
> {
  protected readonly timeoutMs: number;
  readonly #engine: string;
  readonly #open: OpenConnection<Connection>;
  readonly #noConnection: Wait;
  /** The functions that end pending waits when the link is closed. */
  readonly #waits = new Set<() => void>();
  #isClosed = false;
  #connection: Connection | undefined;
  #opening: Promise<Connection> | undefined;
  #failures = 0;
  /** The difference from `performance.now()` to the server's clock, by connection. */
  readonly #aheadMs = new WeakMap<Connection, number>();

  /**
   * @param engine - the name for messages, as `Redis`
   * @param timeoutMs - the time in which a connection must open, and a request be answered
   */
  constructor(engine: string, open: OpenConnection<Connection>, timeoutMs: number) {
    this.#engine = engine;
    this.#open = open;
    this.timeoutMs = timeoutMs;
    this.#noConnection = {
      what: `${cannotReach(engine, open.server)}: no connection`,
      mayHaveRun: false,
      isUnreached: true,
    };
  }

  /** Makes a failure of this engine. */
  protected abstract failure(message: string, options: FailureOptions): Failure;

  /** Makes a failure of an error of the client library. Returns one that is a failure already. */
  protected abstract failureOf(error: unknown): Failure;

  /** The open connection; undefined if there is none. */
  get current(): Connection | undefined {
    return this.#connection;
  }

  /** Returns the connection, and opens a new one if the last was lost. */
  async connection(): Promise<Connection> {
    if (this.#connection) {
      return this.#connection;
    }
    this.#opening ??= this.#openAnew().finally(() => {
      this.#opening = undefined;
    });
    return this.#opening;
  }

  /** Drops a connection, by default the current one. Does nothing if it was dropped before. */
  drop(connection: Connection | undefined = this.#connection): void {
    // Each request that was pending on it fails. A client library adds a listener with each call.
    if (connection && connection === this.#connection) {
      this.#connection = undefined;
      connection.destroy();
    }
  }

  /** Closes the link. Pending requests fail. */
  close(): void {
    this.#isClosed = true;
    for (const end of this.#waits) {
      end();
    }
    this.drop();
  }

  /** Resolves after a time, or at once when the link is closed. */
  pause(ms: number): Promise<void> {
    if (this.#isClosed) {
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer);
        this.#waits.delete(end);
        resolve();
      };
      const timer = setTimeout(end, ms);
      this.#waits.add(end);
    });
  }

  /** Forgets the clock of the server, so that it is read again: it was set, or another server answers. */
  forgetClock(): void {
    if (this.#connection) {
      this.#aheadMs.delete(this.#connection);
    }
  }

  /**
   * Returns the difference from `performance.now()` to the server's clock. It is read once on each connection: a
   * promoted replica has another clock.
   *
   * @param read - reads the clock, in milliseconds since 1970
   */
  protected async aheadOf(connection: Connection, read: () => Promise<number>): Promise<number> {
    const known = this.#aheadMs.get(connection);
    if (known !== undefined) {
      return known;
    }
    // The answer counts as of now, although it is older. So deadlines are early rather than late.
    const aheadMs = (await read()) - performance.now();
    this.#aheadMs.set(connection, aheadMs);
    return aheadMs;
  }

  protected connectionWithin(timeoutMs: number): Promise<Connection> {
    return this.#within(timeoutMs, this.connection(), this.#noConnection);
  }

  /**
   * Sends a request on a connection of this link, and waits for the answer. Drops the connection if it has failed.
   *
   * @param what - the request for messages, as `No answer to XREAD`
   * @throws a failure of this engine
   */
  protected async answerOn<T>(
    connection: Connection,
    send: () => Promise<T>,
    what: string,
    timeoutMs: number,
  ): Promise<T> {
    try {
      const reply = await this.#within(timeoutMs, send(), { what, mayHaveRun: true });
      // Not when it opens: a connection that opens and never answers must not be reopened at once.
      this.#failures = 0;
      return reply;
    } catch (error) {
      const failure = this.failureOf(error);
      if (failure.isOfConnection) {
        this.#failures += connection === this.#connection ? 1 : 0;
        this.drop(connection);
      }
      throw failure;
    }
  }

  async #openAnew(): Promise<Connection> {
    await this.#wait();
    if (this.#isClosed) {
      throw this.failure(CLOSED, { mayHaveRun: false });
    }
    const abandoned = new AbortController();
    const opening = this.#open(abandoned.signal);
    try {
      const connection = await this.#within(this.timeoutMs, opening, this.#noConnection);
      // The link may have been closed between the last wait and this turn.
      if (this.#isClosed) {
        throw this.failure(CLOSED, { mayHaveRun: false });
      }
      this.#connection = connection;
      return connection;
    } catch (error) {
      this.#failures += 1;
      abandoned.abort();
      // A connection that opens after the timeout is not used.
      opening.then(
        (late) => late.destroy(),
        () => undefined,
      );
      throw this.openingFailure(error);
    }
  }

  /** Makes the failure of a connection that did not open. */
  protected openingFailure(error: unknown): Failure {
    const message = unreachable(this.#engine, error, this.#open.server);
    return this.failure(message ?? messageOf(error), {
      cause: error,
      mayHaveRun: false,
      isUnreached: message !== undefined,
    });
  }

  #wait(): Promise<void> {
    if (this.#failures === 0) {
      return Promise.resolve();
    }
    const longest = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** this.#failures);
    return this.pause(longest * (0.5 + Math.random() / 2));
  }

  #within<T>(ms: number, work: Promise<T>, wait: Wait): Promise<T> {
    return new Promise((resolve, reject) => {
      const end = () => {
        clearTimeout(timer);
        this.#waits.delete(onClose);
      };
      const fail = (message: string) => {
        end();
        reject(this.failure(message, wait));
      };
      const onClose = () => fail(CLOSED);
      const timer = setTimeout(() => afterReading(() => fail(`${wait.what} within ${Math.ceil(ms)} ms`)), ms);
      if (this.#isClosed) {
        onClose();
      } else {
        this.#waits.add(onClose);
      }
      work.then(
        (value) => {
          end();
          resolve(value);
        },
        (error: unknown) => {
          end();
          reject(error);
        },
      );
    });
  }
}

/** Returns the message of an error. Node tries each address of a name, and collects their errors. */
function messageOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') {
    return error.errors.map((one) => messageOf(one)).join('; ');
  }
  return error instanceof Error ? error.message : String(error);
}
