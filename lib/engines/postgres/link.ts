import { EngineLink } from '../index.js';
import type { FailureOptions, OpenConnection } from '../index.js';
import type { PostgresConnection, PostgresRow } from './connections.js';
import { failureOf, PostgresFailure } from './failure.js';

/** The name of a function of the schema. */
export type PostgresFunction =
  | 'append'
  | 'claim'
  | 'drain'
  | 'keep_lease'
  | 'look'
  | 'open_log'
  | 'page'
  | 'replace_epoch'
  | 'sweep'
  | 'tail'
  | 'take_lease';

const BEGIN = 'begin isolation level read committed read write';

/** One connection at a time to PostgreSQL, on which the functions of a schema are called. */
export class PostgresLink extends EngineLink<PostgresConnection, PostgresFailure> {
  readonly #schema: string;
  /** Whether the user's own transactions have another isolation level, or may not write. */
  #needsTransaction = false;

  /** @param timeoutMs - the time in which a connection must open, and a statement be answered */
  constructor(open: OpenConnection<PostgresConnection>, schema: string, timeoutMs: number) {
    super('PostgreSQL', open, timeoutMs);
    this.#schema = `"${schema}"`;
  }

  override get current(): PostgresConnection | undefined {
    const connection = super.current;
    if (connection?.isLost) {
      // It was lost while it was idle. A statement on it would fail, and seem to have an unknown outcome.
      this.drop(connection);
      return undefined;
    }
    return connection;
  }

  override connection(): Promise<PostgresConnection> {
    return this.current ? Promise.resolve(this.current) : super.connection();
  }

  /** Calls a function with one result. @throws PostgresFailure */
  async call(name: PostgresFunction, args: readonly string[], timeoutMs?: number): Promise<string | null> {
    const [row] = await this.#send(name, args, timeoutMs);
    return row?.['reply'] ?? null;
  }

  /** Calls a function with rows as its result. @throws PostgresFailure */
  rows(name: PostgresFunction, args: readonly string[], timeoutMs?: number): Promise<readonly PostgresRow[]> {
    return this.#send(name, args, timeoutMs, '*');
  }

  /** As `rows`, on a connection of this link. */
  rowsOn(
    connection: PostgresConnection,
    name: PostgresFunction,
    args: readonly string[],
  ): Promise<readonly PostgresRow[]> {
    return this.queryOn(connection, this.#textOf(name, args, '*'), args, name);
  }

  /** Sends a statement on a connection of this link. @throws PostgresFailure */
  queryOn(
    connection: PostgresConnection,
    text: string,
    params: readonly string[] | undefined,
    what: string,
    timeoutMs = this.timeoutMs,
  ): Promise<readonly PostgresRow[]> {
    return this.answerOn(connection, () => connection.query(text, params), `No answer to ${what}`, timeoutMs);
  }

  /**
   * Calls a function that PostgreSQL refuses after a deadline. A request can be delayed for longer than its caller
   * waits, and must not be carried out then.
   *
   * @param argsOf - makes the arguments for a deadline, in milliseconds of the server's clock
   * @param leftMs - from now on until the deadline
   */
  async callBefore(
    name: PostgresFunction,
    argsOf: (deadline: string) => readonly string[],
    { leftMs, timeoutMs = this.timeoutMs }: { leftMs: number; timeoutMs?: number },
  ): Promise<string | null> {
    const startedAt = performance.now();
    const left = () => Math.max(1, timeoutMs - (performance.now() - startedAt));
    const connection = this.current ?? (await this.connectionWithin(timeoutMs));
    const aheadMs = await this.aheadOf(connection, () => this.#readClock(connection, left()));
    return this.call(name, argsOf((startedAt + leftMs + aheadMs).toFixed(0)), left());
  }

  protected override failure(message: string, options: FailureOptions): PostgresFailure {
    return new PostgresFailure(message, options);
  }

  protected override failureOf(error: unknown): PostgresFailure {
    return failureOf(error);
  }

  protected override openingFailure(error: unknown): PostgresFailure {
    const failure = failureOf(error);
    return failure.code === undefined
      ? super.openingFailure(error)
      : new PostgresFailure(failure.message, { cause: error, code: failure.code, mayHaveRun: false });
  }

  async #send(
    name: PostgresFunction,
    args: readonly string[],
    timeoutMs = this.timeoutMs,
    columns: '*' | 'reply' = 'reply',
  ): Promise<readonly PostgresRow[]> {
    const startedAt = performance.now();
    const left = () => Math.max(1, timeoutMs - (performance.now() - startedAt));
    const connection = this.current ?? (await this.connectionWithin(timeoutMs));
    const text = this.#textOf(name, args, columns);
    if (!this.#needsTransaction) {
      try {
        return await this.queryOn(connection, text, args, name, left());
      } catch (error) {
        const isOurs = error instanceof PostgresFailure && error.isOfTransaction && connection.isSession;
        if (!isOurs) {
          throw error;
        }
        this.#needsTransaction = true;
      }
    }
    const again = this.current ?? (await this.connectionWithin(left()));
    return this.answerOn(again, () => inTransaction(again, text, args), `No answer to ${name}`, left());
  }

  #textOf(name: PostgresFunction, args: readonly string[], columns: '*' | 'reply'): string {
    const params = args.map((_, index) => `$${index + 1}::text`).join(', ');
    return columns === '*'
      ? `select * from ${this.#schema}.${name}(${params})`
      : `select ${this.#schema}.${name}(${params})::text as reply`;
  }

  async #readClock(connection: PostgresConnection, timeoutMs: number): Promise<number> {
    const text = 'select (extract(epoch from clock_timestamp()) * 1000)::text as reply';
    try {
      const [row] = await this.queryOn(connection, text, [], 'the clock', timeoutMs);
      return Number(row?.['reply']);
    } catch (error) {
      const failure = failureOf(error);
      throw new PostgresFailure(failure.message, { cause: failure, code: failure.code, mayHaveRun: false });
    }
  }
}

/** Sends the three statements in one turn, so that no other statement comes between them. */
async function inTransaction(
  connection: PostgresConnection,
  text: string,
  args: readonly string[],
): Promise<readonly PostgresRow[]> {
  const [begun, called, committed] = await Promise.allSettled([
    connection.query(BEGIN),
    connection.query(text, args),
    connection.query('commit'),
  ]);
  for (const one of [begun, called, committed]) {
    if (one.status === 'rejected') {
      throw one.reason;
    }
  }
  return (called as PromiseFulfilledResult<readonly PostgresRow[]>).value;
}
