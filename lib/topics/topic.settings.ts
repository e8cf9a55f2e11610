import type { SseConnection } from '../connection/index.js';

/** Why a client cannot get exactly what it missed. */
export type ResetReason =
  /** The log no longer holds the event after which to go on. */
  | 'trimmed'
  /** The log holds another event in its place. */
  | 'diverged'
  /** The log ends before it. */
  | 'regressed'
  /** The log is another one, begun since. */
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
