import type { RepeatedReport } from '../errors/index.js';
import type { Limits } from '../limits/index.js';
import type { LogTail } from '../log/index.js';
import type { Follower } from './follower.js';
import type { PageSelections } from './page-selections.js';
import type { ResetReason, TopicSettings } from './topic.settings.js';
import type { TopicTracer } from './topic-tracer.js';

/** The topics, as a follower sees them. */
export interface FollowerHost {
  /** Limits reports that may come for each event and client. */
  readonly reports: RepeatedReport;
  /** Reports that a client could not be given its place in the log. */
  reportFailed(error: unknown): void;
  readonly tail: LogTail;
  readonly settings: TopicSettings;
  readonly selections: PageSelections;
  readonly limits: Limits;
  readonly counts: FollowCounts;
  /** Undefined if nothing is traced. */
  readonly tracer: TopicTracer | undefined;
  /** The sequence of the last event that was offered to all live followers. */
  readonly offered: number;
  /**
   * Generation of the log. It increases when the log is replaced; discard answers to requests made in an earlier
   * generation.
   */
  readonly generation: number;
  /** Schedules a call of `catchUp` in a later turn. */
  schedule(follower: Follower): void;
  /** Removes the subscriptions of a follower that has ended. */
  leave(follower: Follower): void;
}

/** How far followers are behind the log, as this process has received it. */
export interface FollowerLag {
  /** How many have not got every event that was offered. */
  readonly behind: number;
  /** The most events that lie between the place of a follower and the newest event. */
  readonly maxEvents: number;
}

/** Counts of how clients began, for operators. */
export interface FollowCounts {
  new: number;
  ring: number;
  log: number;
  snapshots: number;
  /** Events that `authorize` withheld from a client. */
  withheld: number;
  resets: Record<ResetReason, number>;
}
