import { afterReading } from '../../time/index.js';
import { cannotReach, unreachable } from '../index.js';
import type { OpenConnection, RedisConnection } from './clients.js';
import { failureOf, RedisFailure } from './failure.js';
import type { RedisScript } from './scripts.js';

const FIRST_WAIT_MS = 20;
const LONGEST_WAIT_MS = 1_000;

/**
 * One connection at a time to Redis, opened when it is needed, and given up at the first sign that it
 * does not work. It sends nothing a second time by itself; a library's Cluster or Sentinel client may.
 */
export class RedisLink {
  readonly #open: OpenConnection;
  readonly #timeoutMs: number;
  readonly #noConnection: Wait;
  /** What ends each wait, for when the link is closed. */
  readonly #waits = new Set<() => void>();
  #isClosed = false;
  #connection: RedisConnection | undefined;
  #opening: Promise<RedisConnection> | undefined;
  #failures = 0;
  /** How far Redis's clock is ahead of `performance.now()`, by connection. */
  readonly #aheadMs = new WeakMap<RedisConnection, number>();

  /** @param timeoutMs - in which a connection must open, and a command be answered */
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
   * The connection, another one each time that the last was lost. After failures it waits, up to a
   * second, and not for as long each time in every process.
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

  /** Sends on a connection that this link has given, whether or not it is still the current one. */
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
      // Not when it opens: one that opens and then answers nothing must not be opened again at once.
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

  /** Runs a script, whether or not Redis has it. */
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
   * Runs a script that Redis does not begin after a time. A request can be held up on its way for longer than its
   * caller waits, and be carried out when nobody expects it any more.
   *
   * The time is of Redis's own clock, which is read once on each connection: a replica that was promoted has another.
   *
   * @param argsOf - gives the arguments for a deadline, in milliseconds of Redis's clock
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

  /** Has the clock of Redis be read again: it was set, or another server answers on this connection. */
  forgetClock(): void {
    if (this.#connection) {
      this.#aheadMs.delete(this.#connection);
    }
  }

  async #readClock(connection: RedisConnection, key: string, timeoutMs: number): Promise<number> {
    let reply: unknown;
    try {
      // By a key, so that a Cluster asks the server that serves the log.
      reply = await this.sendOn(connection, ['EVAL', "return redis.call('TIME')", '1', key], timeoutMs);
    } catch (error) {
      const failure = error instanceof RedisFailure ? error : failureOf(error);
      throw new RedisFailure(failure.message, { cause: failure, reply: failure.reply, mayHaveRun: false });
    }
    const [seconds, microseconds] = reply as [string, string];
    // As if it were of this moment. It is older, so that deadlines are early rather than late.
    const aheadMs = Number(seconds) * 1_000 + Number(microseconds) / 1_000 - performance.now();
    this.#aheadMs.set(connection, aheadMs);
    return aheadMs;
  }

  /** Gives up a connection; the current one where none is given. */
  drop(connection = this.#connection): void {
    if (connection && connection === this.#connection) {
      this.#connection = undefined;
    }
    connection?.destroy();
  }

  /** Nothing is opened or answered any more. */
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
      // One that comes all the same is nobody's.
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

/** What is waited for, and whether it may have happened although nobody heard of it. */
interface Wait {
  readonly what: string;
  readonly mayHaveRun: boolean;
  readonly isUnreached?: boolean;
}

const CLOSED = 'The log is closed';

/** Node tries each address of a name, and fails with all that it met. */
function messageOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') {
    return error.errors.map((one) => messageOf(one)).join('; ');
  }
  return error instanceof Error ? error.message : String(error);
}
