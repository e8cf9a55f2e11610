import type { RelayTarget } from './relay.js';

/** An event as it is published, before the log has given it a position. */
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
  /** Counts from 1 within an epoch, without a gap. */
  readonly sequence: number;
  /** Eight random hexadecimal digits: see `Position`. */
  readonly nonce: string;
  /** When it was appended, in milliseconds since 1970, by the appender's clock. It gives no order. */
  readonly time: number;
}

/** The result of an append. */
export interface Appended {
  /** The epoch of the log that took the records. The tail may still be in an earlier epoch. */
  readonly epoch: string;
  readonly records: readonly LogRecord[];
}

/** The newest position of a log. The sequence is 0 if the log has never held a record. */
export interface LogHead {
  readonly epoch: string;
  readonly sequence: number;
  readonly nonce: string;
}

/** Records of a log, in order and without a gap. */
export interface LogPage {
  readonly epoch: string;
  /** Empty if the log holds no record from the requested one on. */
  readonly records: readonly LogRecord[];
  /** The lowest sequence that the log still holds; one past the head if it holds none. */
  readonly first: number;
  readonly head: number;
}

/** Why a listener does not receive the records that come next in its log. */
export type LossReason =
  /** The log was replaced by another one, or has expired. */
  | 'epoch'
  /** The log holds other records at positions that the listener has received. */
  | 'diverged'
  /** The log ends before the last record that the listener has received. */
  | 'regressed'
  /** The next records were trimmed before the listener received them. */
  | 'trimmed';

/** A listener to the tail of a log. It may stop following, and follow again, within a call. */
export interface LogListener {
  /**
   * Receives the next records, at least one. They begin right after the last record that the listener has received.
   *
   * @returns a promise if the listener does not keep up: an engine on another machine reads on when it resolves, so
   * that the process holds no more of the log than it must
   */
  onRecords(records: readonly LogRecord[]): void | Promise<void>;
  /**
   * Called if the received records do not go on. The next record follows this head. After a named log has expired,
   * no record comes.
   */
  onReset(head: LogHead, reason: LossReason): void;
}

/** The exclusive right to append to a named log: see {@link EventLogStore.lease}. */
export interface Lease {
  /** The fencing token. It rises with each holder of the name. */
  readonly token: number;
  /** Aborts when the lease is released, is not renewed in time, or the store is closed. */
  readonly signal: AbortSignal;
  /**
   * Keeps the lease for another `ttlMs`.
   *
   * @returns false if the lease is lost
   */
  renew(): Promise<boolean>;
  /** Releases the lease. Does nothing if it is lost. */
  release(): Promise<void>;
}

/** An ordered record of events. Each method is asynchronous and may fail: the log may be on another machine. */
export interface EventLog {
  /**
   * Appends records in order; nothing comes between them. Resolves when the log has all of them, and settles within a
   * time limit whatever the engine does.
   *
   * @param options.lease - refuses the append unless this lease still holds. Once the name has had a holder with a
   * higher token, the log refuses a lower one
   * @throws SseError `publish-failed`, `lease-lost`, `closed`; `isOutcomeKnown` is false if the log may have the
   * records all the same
   */
  append(records: readonly NewRecord[], options?: { lease?: Lease }): Promise<Appended>;
  /**
   * Reads records from the sequence `from` on, or from the first that is held. It returns at most `limit` records, and
   * fewer if they are large, but at least two if the log holds two.
   *
   * @throws SseError `log-unavailable`, `closed`, as do `head` and `follow`
   */
  page(from: number, limit: number): Promise<LogPage>;
  head(): Promise<LogHead>;
  /**
   * Follows the tail. `onRecords` receives all records after the head that this resolves with. The caller runs on
   * before the first call. Several listeners follow independently.
   *
   * @param options.recent - how many of the newest records to resolve with; they end at the head. 0 by default
   * @param options.recentBytes - the bytes of their topics and data, about, counted from the newest. No limit by
   * default
   */
  follow(
    listener: LogListener,
    options?: { recent?: number; recentBytes?: number },
  ): Promise<{ head: LogHead; recent: readonly LogRecord[]; stop: () => void }>;
}

/**
 * A further log, with notices between instances about it. A notice has no position in the log. It neither waits for an
 * append nor delays one.
 *
 * On an engine whose appends never wait for one another, a notice is a record of the log: all listeners receive it.
 */
export interface NamedLog extends EventLog {
  /**
   * Sends a notice to the listeners of this log, at least once, and in order for each key. Resolves when the engine has
   * it. The engine keeps the newest notice of a key for an hour at most, for listeners that come later or were away.
   *
   * @throws SseError `publish-failed`, `closed`
   */
  notify(key: string, notice: NewRecord): Promise<void>;
  /**
   * Calls back for each kept notice, and for each that comes, until the log ends.
   *
   * @returns a function that removes the listener
   * @throws SseError `log-unavailable`, `closed`
   */
  onNotice(listener: (notice: NewRecord) => void): Promise<() => void>;
  /**
   * Reads the newest notice of a key; undefined if there is none, or if notices are records of the log.
   *
   * @throws SseError `log-unavailable`, `closed`
   */
  lastNotice(key: string): Promise<NewRecord | undefined>;
}

/**
 * The state of an engine: `ready`, `degraded` if publishing or following does not work or lags, `down` if neither
 * works.
 */
export type LogState = 'ready' | 'degraded' | 'down';

/** The health of an engine. It changes on its own. */
export interface LogHealth {
  readonly state: LogState;
  /** What is wrong, for people; undefined if the state is `ready`. */
  readonly reason: string | undefined;
  /**
   * Calls back after each change.
   *
   * @returns a function that removes the listener
   */
  onChange(listener: () => void): () => void;
}

/** The logs of an engine: the app's log, and further ones by name. After `close` each method rejects as `closed`. */
export interface EventLogStore {
  /** Whether other processes of the app share these logs. */
  readonly isShared: boolean;
  readonly health: LogHealth;
  readonly log: EventLog;
  /**
   * Opens a further log with its own epoch, limits and lifetime. Callers that give the same name share the log; they
   * must give the same options.
   *
   * When it expires, its listeners get `onReset`, appends through it reject as `closed`, and the next caller that opens
   * the name gets a new, empty log.
   *
   * @param options.maxEvents - the newest records that it keeps; an engine may keep some more
   * @param options.ttlMs - how long it outlives its last append or opening, in milliseconds
   * @param options.lease - begins a new, empty log; the one under the name ends as if it had expired
   * @throws SseError `log-unavailable`, `closed`; `lease-lost` if the name has had a later holder than the lease's.
   * Then nothing has changed
   */
  open(name: string, options: { maxEvents: number; ttlMs: number; lease?: Lease }): Promise<NamedLog>;
  /**
   * Finds the log of a name, and reads a page of it in the same request. It makes no log and prolongs none.
   *
   * @param page - as for {@link EventLog.page}; a limit of 0 reads the head alone
   * @returns undefined if no log is open under the name, or it has expired
   * @throws SseError `log-unavailable`, `closed`
   */
  find(
    name: string,
    page: { from: number; limit: number },
  ): Promise<{ log: NamedLog; page: LogPage } | undefined>;
  /**
   * Takes the lease of a named log, open or not, if it is free. Its token is higher than any before it.
   *
   * @param options.ttlMs - how long it lasts unless it is renewed, in milliseconds
   * @returns undefined if another holder has it
   */
  lease(name: string, options: { ttlMs: number }): Promise<Lease | undefined>;
  /**
   * Takes a name for a time, for the first caller only. It is one atomic operation of the engine. A claim has no holder:
   * nothing releases it, and it outlives the store.
   *
   * @param options.ttlMs - how long the name is taken, in milliseconds
   * @returns false if the name is taken
   * @throws SseError `log-unavailable`, `closed`. The name may be taken all the same
   */
  claim(name: string, options: { ttlMs: number }): Promise<boolean>;
  /**
   * Appends records to the app's log with a transaction of the app: they get a place in the log once it has committed,
   * together and in order, and none if it rolls back. Absent if the log is not in a database of the app.
   *
   * @param transaction - the transaction, as the app's database library has it
   * @returns a promise that resolves when the transaction has the records
   * @throws SseError `misuse` if it is no transaction; the error of the app's library
   */
  appendWithin?(transaction: unknown, records: readonly NewRecord[]): Promise<void>;
  /** The app's log as the place to which events of another log are relayed. Absent if that is not supported. */
  readonly relay?: RelayTarget;
  /** Stops all listeners and ends the leases that were taken here. Listeners receive nothing more. */
  close(): Promise<void>;
}

/** The app, as its engine sees it. */
export interface EngineContext {
  /** The largest frame of an event, in UTF-8 bytes. An engine refuses a larger record when it reads one. */
  readonly maxEventBytes: number;
  /**
   * The most bytes of named logs whose lease is over, for an engine that keeps them in the memory of the process. Past
   * it the oldest ends early.
   */
  readonly endedBytes?: number;
  /** As `endedBytes`, the most named logs whose lease is over. */
  readonly endedLogs?: number;
  /** A named log has ended early, for one of these limits. */
  readonly onEndedEarly?: (limit: 'bytes' | 'count') => void;
  /** Logs a problem of the engine that ends nothing. */
  warn(message: string): void;
}

/** The context of a store without an app. */
export const NO_APP: EngineContext = {
  maxEventBytes: Infinity,
  warn: (message) => process.emitWarning(message, 'nestjs-event-stream'),
};

/**
 * The value of `SseModuleOptions.outbox`: the result of `postgresOutbox()`. It makes the store of the app, which
 * publishes by the outbox to the given log.
 */
export type OutboxFactory = (log: EventLogFactory, context?: EngineContext) => EventLogStore;

/** The value of `SseModuleOptions.log`: the result of `memory()`, `redis()`, `nats()` or `postgres()`. */
export type EventLogFactory = (context?: EngineContext) => EventLogStore;
