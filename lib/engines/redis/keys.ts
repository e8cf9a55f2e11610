/**
 * The keys of one log. The app's log and all named logs have the same hash tag, so that one blocked read covers all of
 * them: a Cluster allows that for keys of one slot alone.
 */
export interface LogKeys {
  /** A stream: the events. */
  readonly events: string;
  /** A hash: epoch, sequence and nonce of the head. */
  readonly meta: string;
}

export class RedisKeys {
  readonly #base: string;

  constructor(prefix: string, log: string) {
    this.#base = `{${prefix}:${log}}`;
  }

  /** @param name - the named log; absent for the app's log */
  log(name?: string): LogKeys {
    const suffix = name === undefined ? '' : `:${escape(name)}`;
    return { events: `${this.#base}:events${suffix}`, meta: `${this.#base}:meta${suffix}` };
  }

  /** A string: the token of the lease's holder. */
  lease(name: string): string {
    return `${this.#base}:lease:${escape(name)}`;
  }

  /** A string that expires: the name is taken. */
  claim(name: string): string {
    return `${this.#base}:claim:${escape(name)}`;
  }

  /** A string: the highest token so far. */
  get token(): string {
    return `${this.#base}:token`;
  }

  /** A string, kept for seconds: the position of a batch, so that a repeated try finds it. */
  publish(id: string): string {
    return `${this.#base}:publish:${id}`;
  }
}

// Names may come from clients. Other characters would make a key that cannot be typed or read in a log.
function escape(name: string): string {
  return encodeURIComponent(Buffer.from(name).toString());
}
