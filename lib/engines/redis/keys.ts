/**
 * The keys of one log. Beside the app's own log stand the named ones, with the same hash tag: one
 * blocked read covers all of them, which a Cluster allows for keys of one slot alone.
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

  /** @param name - of a further log; the app's own where there is none */
  log(name?: string): LogKeys {
    const suffix = name === undefined ? '' : `:${escape(name)}`;
    return { events: `${this.#base}:events${suffix}`, meta: `${this.#base}:meta${suffix}` };
  }

  /** A string: the token of whoever holds the lease. */
  lease(name: string): string {
    return `${this.#base}:lease:${escape(name)}`;
  }

  /** A string: the highest token that was ever given. */
  get token(): string {
    return `${this.#base}:token`;
  }

  /** A string, for seconds: where the events of one publish, which may be tried again, were put. */
  publish(id: string): string {
    return `${this.#base}:publish:${id}`;
  }
}

// Names come from clients: what is not plain would make a key that nobody can type or read in a log.
function escape(name: string): string {
  return encodeURIComponent(Buffer.from(name).toString());
}
