import type { SseConnection } from '../connection/index.js';

/**
 * Why a client cannot get exactly what it missed. The first four are of the log: they come to one
 * that returns, by its place, and to all that are connected, where it is this process whose place is
 * lost. The last two are of what the client brought.
 */
export type ResetReason =
  /**
   * The log no longer holds the event after which to go on. To those that are connected: this process
   * was away for so long that events are gone which it had not read.
   */
  | 'trimmed'
  /**
   * The log holds another event in its place: the engine has failed over to a copy, or gone back to
   * one, that lacked the last events, and has taken others since.
   */
  | 'diverged'
  /** The log ends before it: such a copy that has not taken as many since. */
  | 'regressed'
  /** The log is another one, begun since: the old one was deleted, or kept in memory and lost. */
  | 'epoch'
  /** More was missed than is replayed. */
  | 'limit'
  /** The id that the client brought is none of the log. */
  | 'invalid';

/** What topics need to know of the module's options. */
export interface TopicSettings {
  resetEvent: string;
  cursorEvent: string;
  maxEventBytes: number;
  /** Events that are replayed to one client at most. */
  maxReplayEvents: number;
  /** Events that each process keeps at hand. */
  ringEvents: number;
  /** Bytes that these may take. */
  ringBytes: number;
  /** Patterns that one connection may follow. */
  maxPatterns: number;
  /** Milliseconds that a client may lag without reading anything. */
  maxLagMs: number;
  authorize: ((topic: string, connection: SseConnection) => boolean) | undefined;
}
