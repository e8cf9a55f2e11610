import type { Appended, LogRecord, NewRecord } from './event-log.js';

/** How far a log has taken over the events of another log, its source. */
export interface RelayPlace {
  /** The epoch of the log; empty if there is no log yet. */
  readonly epoch: string;
  /**
   * The position in the source up to which the log has taken over all events, as the engine has stored it; undefined if
   * it has taken over none. Another program may have written it.
   */
  readonly source: string | undefined;
}

/** Events of the source that follow one another. */
export interface RelayBatch {
  /** The epoch of the source. */
  readonly epoch: string;
  /** At least one. They keep their nonces. */
  readonly records: readonly LogRecord[];
}

/**
 * The app's log, as the place to which the events of another log are relayed. Several instances relay at once: the log
 * takes an event over only after the one before it. A log that has fallen back to an older state has an older place, and
 * gets the events since then again, with the same nonces.
 */
export interface RelayTarget {
  /** Whether events that are appended directly may often come between relayed ones. */
  readonly allowsDirect: boolean;
  /**
   * Refuses an event that the engine would never take: it would hold up all that come after it.
   *
   * @throws SseError `publish-failed`
   */
  check(record: NewRecord): void;
  /**
   * Reads the place in the source.
   *
   * @throws SseError `log-unavailable`, `closed`, as do `take` and `renew`
   */
  place(): Promise<RelayPlace>;
  /**
   * Appends events, and stores the place of the last one in the same step, if the log is at the given place. It may be
   * called again after a failure: an event is never appended twice.
   *
   * @returns the appended records, with their sequences in this log: all, or the first ones; undefined if the log is not
   * at the given place
   */
  take(batch: RelayBatch, at: RelayPlace): Promise<Appended | undefined>;
  /**
   * Gives the log a new epoch and a new place, if it still has the given epoch: what comes next does not follow.
   *
   * @param next.source - the new place; undefined to take over all that the source has
   * @param next.keep - whether the log keeps its events
   */
  renew(at: RelayPlace, next: { source: string | undefined; keep: boolean }): Promise<void>;
  /** Called about once a second if there is nothing to relay. An engine may note the place for later. */
  note(at: RelayPlace): Promise<void>;
}
