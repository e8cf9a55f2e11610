import type { Span } from '../time/index.js';
import type { Position } from '../wire/index.js';
import type { ResetReason } from './topic.settings.js';

/** How a publish ended. */
export interface PublishEnd {
  /** The position of the event, if the log has it. */
  readonly position?: Position;
  /** The error with which `publish` rejects. */
  readonly error?: unknown;
}

/** How the resume of a client ended. */
export interface ResumeEnd {
  /**
   * - `resumed`: the client has got what it missed, and is live.
   * - `reset`, `snapshot`: it could not resume, for the `reason`, and got a reset, or snapshots.
   * - `left`: its connection has closed before that.
   * - `failed`: the log could not be read. The client comes back with the same id.
   */
  readonly outcome: 'resumed' | 'reset' | 'snapshot' | 'left' | 'failed';
  readonly reason?: ResetReason | undefined;
  /** Where its last event was found: in the memory of the process, or in the log. */
  readonly from?: 'ring' | 'log' | undefined;
  /** Events that were replayed to it. */
  readonly events: number;
  /** The patterns that it follows. */
  readonly patterns: readonly string[];
  readonly error?: unknown;
}

/** Makes spans of what topics do that takes time. */
export interface TopicTracer {
  /**
   * Called when an event is published, except within a transaction, in the async context of the caller. The name may be
   * invalid as a topic.
   */
  publish(topic: string): Span<PublishEnd>;
  /** Called when a client that brings an id follows topics, in the async context of its handler. */
  resume(): Span<ResumeEnd>;
}
