import { EngineLink } from '../index.js';
import type { FailureOptions, OpenConnection } from '../index.js';
import type { RedisConnection } from './clients.js';
import { failureOf, RedisFailure } from './failure.js';
import type { RedisScript } from './scripts.js';

/**
 * One connection at a time to Redis. The link never resends a command; a library's Cluster or Sentinel client may.
 */
export class RedisLink extends EngineLink<RedisConnection, RedisFailure> {
  /** @param timeoutMs - the time in which a connection must open, and a command be answered */
  constructor(open: OpenConnection<RedisConnection>, timeoutMs: number) {
    super('Redis', open, timeoutMs);
  }

  /** @throws RedisFailure */
  async send(args: readonly string[], timeoutMs = this.timeoutMs): Promise<unknown> {
    const startedAt = performance.now();
    const connection = this.current ?? (await this.connectionWithin(timeoutMs));
    const leftMs = Math.max(1, timeoutMs - (performance.now() - startedAt));
    return this.sendOn(connection, args, leftMs);
  }

  /** Sends a command on a connection of this link, also if it is not the current one any more. */
  sendOn(connection: RedisConnection, args: readonly string[], timeoutMs = this.timeoutMs): Promise<unknown> {
    return this.answerOn(connection, () => connection.send(args), `No answer to ${args[0]}`, timeoutMs);
  }

  /** Runs a script, and loads it if Redis does not have it. */
  async run(
    script: RedisScript,
    keys: readonly string[],
    args: readonly string[],
    timeoutMs = this.timeoutMs,
  ): Promise<unknown> {
    const startedAt = performance.now();
    const connection = this.current ?? (await this.connectionWithin(timeoutMs));
    const leftMs = Math.max(1, timeoutMs - (performance.now() - startedAt));
    return this.runOn(connection, script, keys, args, leftMs);
  }

  async runOn(
    connection: RedisConnection,
    { text, digest }: RedisScript,
    keys: readonly string[],
    args: readonly string[],
    timeoutMs = this.timeoutMs,
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
   * @param argsOf - makes the arguments for a deadline, in milliseconds of Redis's clock
   * @param leftMs - from now on until the deadline
   */
  async runBefore(
    script: RedisScript,
    keys: readonly string[],
    argsOf: (deadline: string) => readonly string[],
    { leftMs, timeoutMs = this.timeoutMs }: { leftMs: number; timeoutMs?: number },
  ): Promise<unknown> {
    const startedAt = performance.now();
    const left = () => Math.max(1, timeoutMs - (performance.now() - startedAt));
    const connection = this.current ?? (await this.connectionWithin(timeoutMs));
    const aheadMs = await this.aheadOf(connection, () => this.#readClock(connection, keys[0]!, left()));
    const deadline = (startedAt + leftMs + aheadMs).toFixed(0);
    return this.runOn(connection, script, keys, argsOf(deadline), left());
  }

  protected override failure(message: string, options: FailureOptions): RedisFailure {
    return new RedisFailure(message, options);
  }

  protected override failureOf(error: unknown): RedisFailure {
    return error instanceof RedisFailure ? error : failureOf(error);
  }

  protected override openingFailure(error: unknown): RedisFailure {
    return error instanceof RedisFailure ? error : super.openingFailure(error);
  }

  async #readClock(connection: RedisConnection, key: string, timeoutMs: number): Promise<number> {
    let reply: unknown;
    try {
      // With a key, so that a Cluster asks the server of the log.
      reply = await this.sendOn(connection, ['EVAL', "return redis.call('TIME')", '1', key], timeoutMs);
    } catch (error) {
      const failure = this.failureOf(error);
      throw new RedisFailure(failure.message, { cause: failure, reply: failure.reply, mayHaveRun: false });
    }
    const [seconds, microseconds] = reply as [string, string];
    return Number(seconds) * 1_000 + Number(microseconds) / 1_000;
  }
}
