/** What is published, before the log has given it a place. */
export interface NewRecord {
  readonly topic: string;
  /** The event's name for the client; absent for `message`. */
  readonly type?: string;
  /** The data as the client reads it: JSON on one line, or text. */
  readonly data: string;
  /** Whether `data` is JSON. */
  readonly isJson: boolean;
}

/** An event as a log keeps it. */
export interface LogRecord extends NewRecord {
  /** Contiguous from 1 within an epoch. */
  readonly sequence: number;
  /** Eight hexadecimal digits, random: see `Position`. */
  readonly nonce: string;
  /** When the log took it, in milliseconds since 1970 by the clock of whoever appended it. Orders nothing. */
  readonly time: number;
}

/** The newest place of a log; sequence 0 where it has never held anything. */
export interface LogHead {
  readonly epoch: string;
  readonly sequence: number;
  readonly nonce: string;
}

/** A run of records as the log holds them, without a gap. */
export interface LogPage {
  readonly epoch: string;
  /** In order; empty where the log holds none from the asked one on. */
  readonly records: readonly LogRecord[];
  /** The lowest sequence that the log still holds; one past the head where it holds none. */
  readonly first: number;
  readonly head: number;
}

/** Whoever follows the tail of a log. */
export interface LogListener {
  /** The next records: the first is one past the last that was heard. Never empty. */
  onRecords(records: readonly LogRecord[]): void;
  /** The log is not the one that was followed: what comes next follows this head. */
  onReset(head: LogHead): void;
}

/** Says that a run of appends is allowed: see {@link EventLogStore.lease}. */
export interface Lease {
  /** Rises with each holder; a log that knows a newer one takes no append with this. */
  readonly token: number;
  /** Aborts when the lease is lost, as far as this process can tell. */
  readonly signal: AbortSignal;
  /**
   * Keeps it for another `ttlMs`.
   * @returns false where it is lost
   */
  renew(): Promise<boolean>;
  release(): Promise<void>;
}

/** An ordered record of events. All of it is asynchronous and may fail: the log may be on another machine. */
export interface EventLog {
  /**
   * Appends records in order, side by side with those of others. Resolves when the log has them all.
   *
   * @throws SseError `publish-failed`, whose `isOutcomeKnown` says whether the log may have them
   */
  append(records: readonly NewRecord[], options?: { lease?: Lease }): Promise<readonly LogRecord[]>;
  /** Up to `limit` records from the sequence `from` on, that one included. */
  page(from: number, limit: number): Promise<LogPage>;
  head(): Promise<LogHead>;
  /**
   * Follows the tail: `onRecords` is called for all that comes after the head that this resolves with.
   * Of several listeners each has its own.
   */
  follow(listener: LogListener): Promise<{ head: LogHead; recent: readonly LogRecord[]; stop: () => void }>;
}

/** What an engine gives: the app's log, and further ones by name. */
export interface EventLogStore {
  readonly log: EventLog;
  /**
   * Opens a further log with an epoch, limits and a life of its own.
   *
   * @param options.ttlMs how long it outlives its last append
   */
  open(name: string, options: { maxEvents: number; ttlMs: number }): Promise<EventLog>;
  /**
   * Takes the lease of that name, if nobody holds it. Its token is higher than any before it.
   *
   * @returns undefined where another holds it
   */
  lease(name: string, options: { ttlMs: number }): Promise<Lease | undefined>;
  close(): Promise<void>;
}

/** What `SseModuleOptions.log` takes: `memory()`, or what the entry point of an engine gives. */
export type EventLogFactory = () => EventLogStore;
