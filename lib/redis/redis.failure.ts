/** Why Redis did not do what it was asked. */
export class RedisFailure extends Error {
  /** The word with which Redis begins an error, as `OOM`; undefined where there was no answer. */
  readonly reply: string | undefined;
  /** Whether the command may have been carried out all the same. */
  readonly mayHaveRun: boolean;

  constructor(message: string, options: { cause?: unknown; reply?: string; mayHaveRun: boolean }) {
    super(message, { cause: options.cause });
    this.reply = options.reply;
    this.mayHaveRun = options.mayHaveRun;
  }

  /** Whether the same may work in a moment, here or on the server that is in charge by then. */
  get isTransient(): boolean {
    return this.reply === undefined || TRANSIENT.has(this.reply);
  }

  /** Whether this connection is of no further use. */
  get isOfConnection(): boolean {
    return this.reply === undefined || STALE.has(this.reply);
  }
}

const TRANSIENT = new Set([
  'LOADING',
  'READONLY',
  'MASTERDOWN',
  'CLUSTERDOWN',
  'TRYAGAIN',
  'MOVED',
  'ASK',
  'BUSY',
  'UNBLOCKED',
  'NOREPLICAS',
]);
// The server is no longer the one in charge, or never was.
const STALE = new Set(['READONLY', 'MASTERDOWN', 'MOVED', 'ASK', 'NOAUTH']);
const KNOWN =
  /(?:^|[-\s])(OOM|READONLY|NOSCRIPT|LOADING|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|MOVED|ASK|BUSY|UNBLOCKED|MISCONF|NOREPLICAS|NOAUTH|NOPERM|WRONGPASS|WRONGTYPE)\b/;
// Redis begins an error with a word in capitals; libraries and Node begin theirs otherwise.
const REPLY = /^-?([A-Z][A-Z0-9]+) /;

/** What a client library rejected a command with. */
export function failureOf(error: unknown): RedisFailure {
  const message = error instanceof Error ? error.message : String(error);
  // Redis 6 puts a script's own error behind the words "ERR Error running script".
  const reply = REPLY.test(message) ? (KNOWN.exec(message)?.[1] ?? REPLY.exec(message)?.[1]) : undefined;
  return new RedisFailure(message, { cause: error, reply, mayHaveRun: reply === undefined });
}
