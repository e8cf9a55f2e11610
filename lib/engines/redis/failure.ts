/** Why Redis did not do what it was asked. */
export class RedisFailure extends Error {
  /** The word with which Redis begins an error, as `OOM`; undefined where there was no answer. */
  readonly reply: string | undefined;
  /** Whether the command may have been carried out all the same. */
  readonly mayHaveRun: boolean;
  /** Whether there was no connection: the message then says to which server. */
  readonly isUnreached: boolean;

  constructor(
    message: string,
    options: { cause?: unknown; reply?: string; mayHaveRun: boolean; isUnreached?: boolean },
  ) {
    super(message, { cause: options.cause });
    this.reply = options.reply;
    this.mayHaveRun = options.mayHaveRun;
    this.isUnreached = options.isUnreached ?? false;
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
// Redis begins an error with a word in capitals; libraries and Node begin theirs otherwise. Before Redis 7 the error of a
// command within a script comes behind the place in the script, or behind "ERR Error running script".
const REPLY = /^(?:@user_script:\s*\d+:\s*)?-?([A-Z][A-Z0-9]+) /;
/** With these Redis refuses a script's first write, and so all of it. */
const BEFORE_ANY_WRITE = new Set(['OOM', 'READONLY', 'MISCONF', 'NOREPLICAS']);

/** What a client library rejected a command with. */
export function failureOf(error: unknown): RedisFailure {
  const message = error instanceof Error ? error.message : String(error);
  const word = REPLY.exec(message)?.[1];
  const reply = word && (KNOWN.exec(message)?.[1] ?? word);
  // Redis does not take back what a script has written before one of its commands failed.
  const isFromScript = message.includes('user_script');
  const mayHaveRun = reply === undefined || (isFromScript && !BEFORE_ANY_WRITE.has(reply));
  return new RedisFailure(message, { cause: error, reply, mayHaveRun });
}
