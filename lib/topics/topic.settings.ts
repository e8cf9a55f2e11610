import type { SseConnection } from '../connection/index.js';
import type { PresenceSettings } from './presence/index.js';

/**
 * Why a client cannot get exactly the events that it missed. The first four concern the log. A returning client gets
 * them for its own place; all connected clients get them if this process has lost its place. The last two concern the
 * id that a client sent.
 */
export type ResetReason =
  /**
   * The log no longer holds the event after which the client goes on. For connected clients: this process was away for
   * so long that the log dropped events that it had not read.
   */
  | 'trimmed'
  /**
   * The log holds another event at that position. The engine has failed over or gone back to a copy without the last
   * events, and has taken other events since.
   */
  | 'diverged'
  /** The log ends before that position: such a copy has not taken as many events since. */
  | 'regressed'
  /** The log is a new one: the old one was deleted, or was in the memory of a process that ended. */
  | 'epoch'
  /** The client missed more events than `maxReplayEvents`, or `limits.replayEventsPerKeyPerMinute` is used up. */
  | 'limit'
  /** The client's id is no position of a log. */
  | 'invalid';

/** The settings of the topics, all resolved. */
export interface TopicSettings {
  resetEvent: string;
  cursorEvent: string;
  maxEventBytes: number;
  /** The most events that are replayed to one client. */
  maxReplayEvents: number;
  /** The most events in the ring of each process. */
  ringEvents: number;
  /** The most bytes of these events. */
  ringBytes: number;
  /** The most patterns of one connection. */
  maxPatterns: number;
  /** Milliseconds after which a client that reads nothing is closed. */
  maxLagMs: number;
  presence: PresenceSettings;
  authorize: ((topic: string, connection: SseConnection) => boolean) | undefined;
}
