import { WRONG_ISOLATION } from './functions/index.js';

/** The failure of a statement. */
export class PostgresFailure extends Error {
  /** PostgreSQL's code of the error, as `53100`; undefined if there was no answer. */
  readonly code: string | undefined;
  /** Whether the statement may have been carried out all the same. */
  readonly mayHaveRun: boolean;
  /** Whether there was no connection. The message then names the server. */
  readonly isUnreached: boolean;

  constructor(
    message: string,
    options: { cause?: unknown; code?: string; mayHaveRun: boolean; isUnreached?: boolean },
  ) {
    super(message, { cause: options.cause });
    this.code = options.code;
    this.mayHaveRun = options.mayHaveRun;
    this.isUnreached = options.isUnreached ?? false;
  }

  /** Whether the same statement may work soon, on this server or on the next primary. */
  get isTransient(): boolean {
    return this.isFinal || this.isOfConnection || TRANSIENT.has(this.code!);
  }

  /** Whether an app that starts must not wait: the connection is refused for a reason that a person must remove. */
  get isFinal(): boolean {
    return this.code !== undefined && (this.code.startsWith('28') || this.code === NO_DATABASE);
  }

  /** Whether the connection must be replaced. */
  get isOfConnection(): boolean {
    return this.code === undefined || STALE.has(this.code) || this.code.startsWith('08');
  }

  /** Whether the statement must be sent in a transaction with the right isolation level, which may write. */
  get isOfTransaction(): boolean {
    return this.code === WRONG_ISOLATION || this.code === READ_ONLY;
  }

  /** Whether an event stands in the place of one that is appended: its log's row was set back. */
  get isOfTakenPlace(): boolean {
    return this.code === UNIQUE_VIOLATION;
  }

  /** What to do about it. */
  get hint(): string {
    const hint = this.code === undefined ? undefined : HINTS[this.code];
    return hint === undefined ? '' : ` ${hint}`;
  }
}

const UNIQUE_VIOLATION = '23505';
const READ_ONLY = '25006';
const NO_DATABASE = '3D000';
const NO_PASSWORD = '28P01';
/** How the errors of `pg` itself begin that concern a password: it is missing. They have no code. */
const OF_PASSWORD = /^SASL: /;
const CRASH = '57P02';
/** The source file of PostgreSQL whose errors stop the server: those of the write-ahead log. Severities are translated. */
const WRITE_AHEAD_LOG = 'xlog.c';
const HINTS: Readonly<Record<string, string>> = {
  [NO_DATABASE]: 'Make the database, or give the name of the one that there is.',
  '25P03': 'Raise the idle_in_transaction_session_timeout of the user of the connection.',
  [NO_PASSWORD]: 'Check that the connection has the present password of its user.',
  '28000': 'Check that the user of the connection may log in.',
  '42501':
    'Grant the user of the connection the rights that the guide of nestjs-event-stream/postgres names.',
  '53100': 'Make room on its disk.',
  '53300': 'Raise its max_connections, or open fewer: each process of the app takes two for the log.',
  '53400': 'Raise the limit that it names.',
  '55P03': 'Look in pg_stat_activity for a transaction that stays open and has locked the tables of the log.',
  '57014': 'Raise the statement_timeout of the user of the connection.',
  [READ_ONLY]: 'Give the address of the primary: a standby takes no events.',
};
const TRANSIENT = new Set([
  '40001', // serialization_failure
  '40P01', // deadlock_detected
  '53300', // too_many_connections
  '55P03', // lock_not_available
  '57014', // query_canceled
]);
// The server shuts down, is no primary, or lacks the schema: it may be another one by now. A session that waits within a
// transaction of ours may be ended, too.
const STALE = new Set([
  READ_ONLY,
  '25P02', // in_failed_sql_transaction
  '25P03', // idle_in_transaction_session_timeout
  '3F000', // invalid_schema_name
  '42883', // undefined_function
  '42P01', // undefined_table
  '57P01', // admin_shutdown
  CRASH,
  '57P03', // cannot_connect_now
  '57P05', // idle_session_timeout
]);
/** Errors that end the connection: the statement before them may have been carried out. */
const ENDS_CONNECTION = /^(?:08|57P)/;
/** Node has `EPIPE`, which looks like a code of PostgreSQL; those have a digit. */
const CODE = /^(?=.*\d)[0-9A-Z]{5}$/;

/** Makes a failure of a client library's error. */
export function failureOf(error: unknown): PostgresFailure {
  if (error instanceof PostgresFailure) {
    return error;
  }
  const message = error instanceof Error ? error.message : String(error);
  const code = impliedCode(error) ?? codeOf(error);
  return new PostgresFailure(message, {
    cause: error,
    code,
    mayHaveRun: code === undefined || ENDS_CONNECTION.test(code),
  });
}

/** Returns the code that an error should have: it has none, or that of what has caused it. */
function impliedCode(error: unknown): string | undefined {
  const causes = causesOf(error);
  if (causes.some(({ message }) => typeof message === 'string' && OF_PASSWORD.test(message))) {
    return NO_PASSWORD;
  }
  // A full disk, say. It happens as a commit is written, which may be whole on disk.
  return causes.some(({ file }) => file === WRITE_AHEAD_LOG) ? CRASH : undefined;
}

/** Finds PostgreSQL's code. Libraries keep it in `code`, or in that of their cause. Node's codes are longer. */
export function codeOf(error: unknown): string | undefined {
  return causesOf(error)
    .map(({ code }) => code)
    .find((code): code is string => typeof code === 'string' && CODE.test(code));
}

/** What is read of an error. */
interface ErrorFields {
  readonly message?: unknown;
  readonly code?: unknown;
  readonly file?: unknown;
  readonly cause?: unknown;
}

const MOST_CAUSES = 4;

/** Returns an error and what has caused it: libraries wrap the errors of others. */
function causesOf(error: unknown): ErrorFields[] {
  const causes: ErrorFields[] = [];
  let at = error;
  while (typeof at === 'object' && at !== null && causes.length < MOST_CAUSES) {
    const cause: ErrorFields = at;
    causes.push(cause);
    at = cause.cause;
  }
  return causes;
}
