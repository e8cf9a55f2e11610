import { afterReading } from '../../time/index.js';
import { cannotReach, unreachable } from '../index.js';
import type { OpenConnection, RedisConnection } from './clients.js';
import { failureOf, RedisFailure } from './failure.js';
import type { RedisScript } from './scripts.js';

const FIRST_WAIT_MS = 20;
const LONGEST_WAIT_MS = 1_000;

/**
 * One connection at a time to Redis. It is opened when needed, and replaced at the first failure. The link never
 * resends a command; a library's Cluster or Sentinel client may.
 */
export class RedisLink {
  readonly #open: OpenConnection;
  readonly #timeoutMs: number;
  readonly #noConnection: Wait;
  /** The functions that end pending waits when the link is closed. */
  readonly #waits = new Set<() => void>();
  #isClosed = false;
  #connection: RedisConnection | undefined;
  #opening: Promise<RedisConnection> | undefined;
  #failures = 0;
  /** The difference from `performance.now()` to Redis's clock, by connection. */
  readonly #aheadMs = new WeakMap<RedisConnection, number>();

  /** @param timeoutMs - the time in which a connection must open, and a command be answered */
  constructor(open: OpenConnection, timeoutMs: number) {
    this.#open = open;
    this.#timeoutMs = timeoutMs;
    this.#noConnection = {
      what: `${cannotReach('Redis', open.server)}: no connection`,
      mayHaveRun: false,
      isUnreached: true,
    };
  }

  /**
   * Returns the connection, and opens a new one if the last was lost. After failures it waits up to a second, for a
   * random time, so that processes do not reconnect together.
   */
  async connection(): Promise<RedisConnection> {
    if (this.#connection) {
      return this.#connection;
    }
    this.#opening ??= this.#openAnew().finally(() => {
      this.#opening = undefined;
    });
    return this.#opening;
  }

  /** @throws RedisFailure */
  async send(args: readonly string[], timeoutMs = this.#timeoutMs): Promise<unknown> {
    const startedAt = performance.now();
    const connection = this.#connection ?? (await this.#connectionWithin(timeoutMs));
    const leftMs = Math.max(1, timeoutMs - (performance.now() - startedAt));
    return this.sendOn(connection, args, leftMs);
  }

  /** Sends a command on a connection of this link, also if it is not the current one any more. */
  async sendOn(
    connection: RedisConnection,
    args: readonly string[],
    timeoutMs = this.#timeoutMs,
  ): Promise<unknown> {
    try {
      const reply = await this.#within(timeoutMs, connection.send(args), {
        what: `No answer to ${args[0]}`,
        mayHaveRun: true,
      });
      // Not when it opens: a connection that opens and never answers must not be reopened at once.
      this.#failures = 0;
      return reply;
    } catch (error) {
      const failure = error instanceof RedisFailure ? error : failureOf(error);
      if (failure.isOfConnection) {
        this.#failures += connection === this.#connection ? 1 : 0;
        this.drop(connection);
      }
      throw failure;
    }
  }

  /** Runs a script, and loads it if Redis does not have it. */
  async run(
    script: RedisScript,
    keys: readonly string[],
    args: readonly string[],
    timeoutMs = this.#timeoutMs,
  ): Promise<unknown> {
    const startedAt = performance.now();
    const connection = this.#connection ?? (await this.#connectionWithin(timeoutMs));
    const leftMs = Math.max(1, timeoutMs - (performance.now() - startedAt));
    return this.runOn(connection, script, keys, args, leftMs);
  }

  async runOn(
    connection: RedisConnection,
    { text, digest }: RedisScript,
    keys: readonly string[],
    args: readonly string[],
    timeoutMs = this.#timeoutMs,
  ): Promise<unknown> {
    const startedAt = performance.now();
    const command = ['EVALSHA', digest, String(keys.length), ...keys, ...args];
    try {
      return await this.sendOn(connection, command, timeoutMs);
    } catch (error) {
      if (error instanceof RedisFailure && error.reply === 'NOSCRIPT') {
        const leftMs = Math.max(1, timeoutMs - (performance.now() - startedAt));
        return this.sendOn(connection, ['EVAL', text, ...command.slice(2)], leftMs);
      }
      throw error;
    }
  }

  /**
   * Runs a script that Redis refuses after a deadline. A request can be delayed for longer than its caller waits, and
   * must not run then.
   *
   * The deadline is of Redis's own clock, which is read once on each connection: a promoted replica has another clock.
   *
   * @param argsOf - makes the arguments for a deadline, in milliseconds of Redis's clock
   * @param leftMs - from now on until the deadline
   */
  async runBefore(
    script: RedisScript,
    keys: readonly string[],
    argsOf: (deadline: string) => readonly string[],
    { leftMs, timeoutMs = this.#timeoutMs }: { leftMs: number; timeoutMs?: number },
  ): Promise<unknown> {
    const startedAt = performance.now();
    const left = () => Math.max(1, timeoutMs - (performance.now() - startedAt));
    const connection = this.#connection ?? (await this.#connectionWithin(timeoutMs));
    const aheadMs = this.#aheadMs.get(connection) ?? (await this.#readClock(connection, keys[0]!, left()));
    const deadline = (startedAt + leftMs + aheadMs).toFixed(0);
    return this.runOn(connection, script, keys, argsOf(deadline), left());
  }

  /** Forgets the clock of Redis, so that it is read again: it was set, or another server answers. */
  forgetClock(): void {
    if (this.#connection) {
      this.#aheadMs.delete(this.#connection);
    }
  }

  async #readClock(connection: RedisConnection, key: string, timeoutMs: number): Promise<number> {
    let reply: unknown;
    try {
      // With a key, so that a Cluster asks the server of the log.
      reply = await this.sendOn(connection, ['EVAL', "return redis.call('TIME')", '1', key], timeoutMs);
    } catch (error) {
      const failure = error instanceof RedisFailure ? error : failureOf(error);
      throw new RedisFailure(failure.message, { cause: failure, reply: failure.reply, mayHaveRun: false });
    }
    const [seconds, microseconds] = reply as [string, string];
    // The answer counts as of now, although it is older. So deadlines are early rather than late.
    const aheadMs = Number(seconds) * 1_000 + Number(microseconds) / 1_000 - performance.now();
    this.#aheadMs.set(connection, aheadMs);
    return aheadMs;
  }

  /** Drops a connection; by default the current one. */
  drop(connection = this.#connection): void {
    if (connection && connection === this.#connection) {
      this.#connection = undefined;
    }
    connection?.destroy();
  }

  /** Closes the link. Pending commands fail. */
  close(): void {
    this.#isClosed = true;
    for (const end of this.#waits) {
      end();
    }
    this.drop();
  }

  #connectionWithin(timeoutMs: number): Promise<RedisConnection> {
    return this.#within(timeoutMs, this.connection(), this.#noConnection);
  }

  async #openAnew(): Promise<RedisConnection> {
    await this.#wait();
    if (this.#isClosed) {
      throw new RedisFailure(CLOSED, { mayHaveRun: false });
    }
    const abandoned = new AbortController();
    const opening = this.#open(abandoned.signal);
    try {
      const connection = await this.#within(this.#timeoutMs, opening, this.#noConnection);
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
      if (error instanceof RedisFailure) {
        throw error;
      }
      const message = unreachable('Redis', error, this.#open.server);
      throw new RedisFailure(message ?? messageOf(error), {
        cause: error,
        mayHaveRun: false,
        isUnreached: message !== undefined,
      });
    }
  }

  #wait(): Promise<void> {
    if (this.#failures === 0) {
      return Promise.resolve();
    }
    const longest = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** this.#failures);
    return this.pause(longest * (0.5 + Math.random() / 2));
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

  #within<T>(ms: number, work: Promise<T>, wait: Wait): Promise<T> {
    return new Promise((resolve, reject) => {
      const end = () => {
        clearTimeout(timer);
        this.#waits.delete(onClose);
      };
      const fail = (message: string) => {
        end();
        reject(new RedisFailure(message, wait));
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

/** A wait with a time limit, and whether the command may have run if it is over. */
interface Wait {
  readonly what: string;
  readonly mayHaveRun: boolean;
  readonly isUnreached?: boolean;
}

const CLOSED = 'The log is closed';

/** Returns the message of an error. Node tries each address of a name, and collects their errors. */
function messageOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') {
    return error.errors.map((one) => messageOf(one)).join('; ');
  }
  return error instanceof Error ? error.message : String(error);
}
