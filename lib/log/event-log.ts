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

/** What a log has made of an append. */
export interface Appended {
  /** Of the log that took them: it may have been replaced since anything was heard of it. */
  readonly epoch: string;
  readonly records: readonly LogRecord[];
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

/** Why what was followed does not go on. */
export type LossReason =
  /** The log is another one, begun since, or has expired. */
  | 'epoch'
  /** The log holds other records in the places of those that were heard. */
  | 'diverged'
  /** The log ends before what was heard. */
  | 'regressed'
  /** What comes next was trimmed before it was heard. */
  | 'trimmed';

/** Whoever follows the tail of a log. It may stop, and follow, from within a call. */
export interface LogListener {
  /**
   * The next records: the first is one past the last that was heard. Never empty.
   *
   * @returns what an engine on another machine waits for before it reads on, so that a process which
   * does not keep up holds no more of the log than it must
   */
  onRecords(records: readonly LogRecord[]): void | Promise<void>;
  /**
   * What was heard does not go on: what comes next follows this head. Of a named log that has
   * outlived its time nothing comes next.
   */
  onReset(head: LogHead, reason: LossReason): void;
}

/** The right to be the one who appends to a named log: see {@link EventLogStore.lease}. */
export interface Lease {
  /** Rises with each holder of the name. */
  readonly token: number;
  /** Aborts when the lease is over, as far as this process can tell: released, not renewed in time, closed. */
  readonly signal: AbortSignal;
  /**
   * Keeps it for another `ttlMs`.
   * @returns false where it is lost
   */
  renew(): Promise<boolean>;
  /** Lets others have it. Does nothing where it is lost. */
  release(): Promise<void>;
}

/** An ordered record of events. All of it is asynchronous and may fail: the log may be on another machine. */
export interface EventLog {
  /**
   * Appends records in order, side by side with those of others. Resolves when the log has them all.
   *
   * @param options.lease refuses the append unless this lease is still good, as this process and the
   * log know it: once the name has had a holder with a higher token, nothing with a lower one is taken
   * @throws SseError `publish-failed`, `lease-lost`, `closed`; its `isOutcomeKnown` says whether the
   * log may have them all the same. It settles within a time, whatever the engine does
   */
  append(records: readonly NewRecord[], options?: { lease?: Lease }): Promise<Appended>;
  /**
   * Records from the sequence `from` on, that one included, or from the first that is held: `limit` at
   * most, or fewer where they are large, but at least two where the log holds that many.
   *
   * @throws SseError `log-unavailable`, `closed`, as do `head` and `follow`
   */
  page(from: number, limit: number): Promise<LogPage>;
  head(): Promise<LogHead>;
  /**
   * Follows the tail: `onRecords` is called for all that comes after the head that this resolves
   * with, and not before whoever awaits that has gone on. Of several listeners each has its own.
   *
   * @param options.recent how many of the newest records to resolve with: they end at the head
   * @param options.recentBytes what their topics and data may take, about, counted from the newest on
   * @defaultValue options.recent 0, options.recentBytes no limit
   */
  follow(
    listener: LogListener,
    options?: { recent?: number; recentBytes?: number },
  ): Promise<{ head: LogHead; recent: readonly LogRecord[]; stop: () => void }>;
}

/**
 * A further log, and what instances tell one another about it: a notice has no place in the log, and neither waits
 * for an append nor holds one up.
 *
 * On an engine whose appends never wait for one another a notice is a record of the log: all who follow receive it.
 */
export interface NamedLog extends EventLog {
  /**
   * Tells the listeners of this log something, at least once, and in order for each key. Resolves when the engine has
   * it. The newest notice of a key is kept for an hour at most, for listeners that come later or were away.
   *
   * @throws SseError `publish-failed`, `closed`
   */
  notify(key: string, notice: NewRecord): Promise<void>;
  /**
   * Calls back for the notices that are kept, and for each that comes, until the log is over.
   *
   * @returns a function that removes the listener
   * @throws SseError `log-unavailable`, `closed`
   */
  onNotice(listener: (notice: NewRecord) => void): Promise<() => void>;
  /**
   * The newest notice of a key; undefined if there is none, or if it is a record of the log.
   *
   * @throws SseError `log-unavailable`, `closed`
   */
  lastNotice(key: string): Promise<NewRecord | undefined>;
}

/**
 * How an engine fares: `ready`; `degraded` where publishing or following does not work, or lags;
 * `down` where neither works.
 */
export type LogState = 'ready' | 'degraded' | 'down';

/** The state of an engine, which changes on its own. */
export interface LogHealth {
  readonly state: LogState;
  /** What is wrong, for people; undefined where nothing is. */
  readonly reason: string | undefined;
  /**
   * Calls back after each change.
   * @returns what ends that
   */
  onChange(listener: () => void): () => void;
}

/** What an engine gives: the app's log, and further ones by name. After `close` all of it rejects as `closed`. */
export interface EventLogStore {
  /** Whether other processes of the app have the same logs. */
  readonly isShared: boolean;
  readonly health: LogHealth;
  readonly log: EventLog;
  /**
   * Opens a further log with an epoch, limits and a life of its own. All who give the name have the
   * same one, and give the same options.
   *
   * When it has expired, who follows it hears `onReset`, appends through it are refused as `closed`,
   * and the next who opens the name gets another, empty log.
   *
   * @param options.maxEvents how many of the newest records it keeps; an engine may keep some more
   * @param options.ttlMs how long it outlives its last append, or its last opening
   * @param options.lease begins it anew: what stood under the name is over, as if it had expired, and
   * the log is empty
   * @throws SseError `log-unavailable`, `closed`; `lease-lost` where the name has had a later holder
   * than that of the lease, and all is as it was
   */
  open(name: string, options: { maxEvents: number; ttlMs: number; lease?: Lease }): Promise<NamedLog>;
  /**
   * The log of a name, and a page of it in the same request. It is looked at alone: nothing is made,
   * and nothing lives any longer for it.
   *
   * @param page as of {@link EventLog.page}; a limit of 0 asks for the head alone
   * @returns undefined where nobody has opened it, or it has expired
   * @throws SseError `log-unavailable`, `closed`
   */
  find(
    name: string,
    page: { from: number; limit: number },
  ): Promise<{ log: NamedLog; page: LogPage } | undefined>;
  /**
   * Takes the lease of the named log, open or not, if nobody holds it. Its token is higher than any
   * before it.
   *
   * @param options.ttlMs how long it lasts, unless it is renewed
   * @returns undefined where another holds it
   */
  lease(name: string, options: { ttlMs: number }): Promise<Lease | undefined>;
  /** Ends what follows and the leases that were taken here. Nothing is heard any more. */
  close(): Promise<void>;
}

/** What an app gives to its engine. */
export interface EngineContext {
  /** The largest frame of an event, in UTF-8 bytes. An engine takes nothing larger for an event as it reads. */
  readonly maxEventBytes: number;
  /** Logs what is wrong with the log and ends nothing. */
  warn(message: string): void;
}

/** The context of a store that is made without an app. */
export const NO_APP: EngineContext = {
  maxEventBytes: Infinity,
  warn: (message) => process.emitWarning(message, 'nestjs-event-stream'),
};

/** What `SseModuleOptions.log` takes: `memory()`, or what the entry point of an engine gives. */
export type EventLogFactory = (context?: EngineContext) => EventLogStore;
