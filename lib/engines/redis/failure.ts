/** The failure of a command. */
export class RedisFailure extends Error {
  /** The first word of Redis's error, as `OOM`; undefined if there was no answer. */
  readonly reply: string | undefined;
  /** Whether the command may have run all the same. */
  readonly mayHaveRun: boolean;
  /** Whether there was no connection. The message then names the server. */
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

  /** Whether the same command may work soon, on this server or on the next master. */
  get isTransient(): boolean {
    return this.reply === undefined || TRANSIENT.has(this.reply);
  }

  /** What to do about it. */
  get hint(): string {
    return this.reply === 'OOM' ? ' Raise its maxmemory, or lower maxEvents.' : '';
  }

  /** Whether the connection must be replaced. */
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
// The server is not the log's master, or takes no commands on this connection.
const STALE = new Set(['READONLY', 'MASTERDOWN', 'MOVED', 'ASK', 'NOAUTH']);
const KNOWN =
  /(?:^|[-\s])(OOM|READONLY|NOSCRIPT|LOADING|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|MOVED|ASK|BUSY|UNBLOCKED|MISCONF|NOREPLICAS|NOAUTH|NOPERM|WRONGPASS|WRONGTYPE)\b/;
// Redis begins an error with a word in capitals; libraries and Node do not. Before Redis 7 the error of a command
// within a script follows the line in the script, or "ERR Error running script".
const REPLY = /^(?:@user_script:\s*\d+:\s*)?-?([A-Z][A-Z0-9]+) /;
/** Errors with which Redis refuses a script's first write, so that nothing of it was written. */
const BEFORE_ANY_WRITE = new Set(['OOM', 'READONLY', 'MISCONF', 'NOREPLICAS']);

/** Makes a failure of a client library's error. */
export function failureOf(error: unknown): RedisFailure {
  const message = error instanceof Error ? error.message : String(error);
  const word = REPLY.exec(message)?.[1];
  const reply = word && (KNOWN.exec(message)?.[1] ?? word);
  // Redis does not undo the writes of a script if a later command of it fails.
  const isFromScript = message.includes('user_script');
  const mayHaveRun = reply === undefined || (isFromScript && !BEFORE_ANY_WRITE.has(reply));
  return new RedisFailure(message, { cause: error, reply, mayHaveRun });
}
