import type { CloseReason, ConnectionRegistry, TurnAwayReason } from './connection/index.js';
import type { LimitName } from './limits/index.js';
import type { LogState, LossReason } from './log/index.js';
import type { RunEndReason, Runs } from './runs/index.js';
import type { DurationCounts as SseDurations } from './time/index.js';
import type { PublishOutcome, ResetReason, Topics } from './topics/index.js';
import type { Revocations, Tickets } from './trust/index.js';

/**
 * What this process has counted since its start, and how it stands at the moment. Everything concerns this process
 * alone: an operator adds up the instances. Counts only rise. No name comes from a client, a topic or a key.
 *
 * A snapshot: it does not change. To take one looks at each follower of topics, about 1 ms for 50,000.
 */
export interface SseMetrics {
  readonly connections: SseConnectionMetrics;
  /** What was written to clients. */
  readonly sent: {
    /**
     * Events of topics and runs, and those that the app sent. Not counted: snapshots, comments, and events with which
     * this module tells a client its place (`reset`, `cursor`).
     */
    readonly events: number;
    /** UTF-8 bytes of all frames, comments and heartbeats, before any compression and without the framing of HTTP. */
    readonly bytes: number;
    /** The same as they left this module: fewer where `compression` is on. A proxy's compression is not counted. */
    readonly writtenBytes: number;
  };
  readonly topics: SseTopicMetrics;
  readonly log: SseLogMetrics;
  readonly runs: SseRunMetrics;
  /** How often each limit of the option `limits` was reached: by a client, a key or an owner. */
  readonly limitsReached: Readonly<Record<LimitName, number>>;
  readonly tickets: {
    /** Tickets that `tickets.issue` has given. */
    readonly issued: number;
    /**
     * Tickets that were presented to this process. `spent`: authentic, and used before, expired, or the log was away.
     * `invalid`: signed with none of the secrets.
     */
    readonly presented: Readonly<Record<'opened' | 'spent' | 'invalid', number>>;
  };
  readonly revocations: {
    /** Keys that are kept away at the moment. Some may have expired. */
    readonly keys: number;
    /** Calls of `revoke` on this process that were not refused. */
    readonly revoked: number;
    /** Calls of `revoke` on this process that were refused, since as many keys are revoked as can be. */
    readonly refused: number;
  };
  readonly presence: {
    /** Members that this process knows, of all topics, once for each instance that they are connected to. */
    readonly members: number;
    /** Members by connections of this process. */
    readonly ownMembers: number;
    /** Topics that have members by connections of this process. */
    readonly ownTopics: number;
    /** Calls of `follow` that were refused as `presence-full`. */
    readonly refused: number;
  };
}

/** Connections of this process: see {@link SseMetrics}. */
export interface SseConnectionMetrics {
  /** Open now. */
  readonly open: number;
  /** Closed, with a response that still has bytes to deliver. They count for `maxConnections`. */
  readonly flushing: number;
  /** Bytes that wait in this process for clients that do not keep up; see `limits.queuedBytes`. */
  readonly queuedBytes: number;
  /** Whether the app is closing: from the beginning of `drain.delayMs` on. */
  readonly isDraining: boolean;
  /** Connections that were admitted, whatever became of them. */
  readonly opened: number;
  /** Connections that were admitted and have closed: `opened` is the sum of these and `open`. */
  readonly closed: Readonly<Record<CloseReason, number>>;
  /**
   * Clients that were not admitted. `capacity`: `maxConnections` are open. `limit`: a limit of their key. `log`: the
   * log cannot be read, and they cannot be served without it. `revoked`: their key is revoked. `shutdown`: the app is
   * closing. `ticket`: their ticket is spent.
   */
  readonly turnedAway: Readonly<Record<TurnAwayReason, number>>;
  /** How long closed connections had been open, from their headers on. */
  readonly lifetimes: SseDurations;
}

/** Topics, as this process serves them: see {@link SseMetrics}. */
export interface SseTopicMetrics {
  /** Connections that follow topics now. */
  readonly followers: number;
  /** Followers that have not got every event that was offered: they read slowly, or have just come. */
  readonly behind: number;
  /** The most events of the log that lie between the place of a follower and the newest one here. */
  readonly maxLagEvents: number;
  /**
   * How followers began. `new`: without an id. `ring`: they resumed exactly, from the memory of this process. `log`:
   * they resumed exactly, from the log. A follower that could not resume is one of `resets`.
   */
  readonly started: Readonly<Record<'new' | 'ring' | 'log', number>>;
  /** Followers that got a reset, or a snapshot in its place, by reason. A follower can get several. */
  readonly resets: Readonly<Record<ResetReason, number>>;
  /** Followers that got snapshots. */
  readonly snapshots: number;
  /** Events that `authorize` withheld, counted for each client. */
  readonly withheld: number;
  /** Events that this process was asked to publish, by outcome. `unknown`: the log has not answered in time. */
  readonly published: Readonly<Record<PublishOutcome, number>>;
  /** How long the log took to answer a publish. */
  readonly publishing: SseDurations;
  /** How long it took from the receipt of events until they were offered to all followers here. */
  readonly fanOut: SseDurations;
  /** Events that were received, and are still to be offered to all followers here. */
  readonly pendingEvents: number;
}

/** The log of the app's topics, as this process sees it: see {@link SseMetrics}. */
export interface SseLogMetrics {
  /** As `sse.health.state`. */
  readonly state: LogState;
  /** Events that this process has received from the log, its own among them. */
  readonly received: number;
  /** Events that the log has acknowledged to this process, and that have not come back from it yet. */
  readonly lagEvents: number;
  /** How often this process has lost its place in the log, so that all its followers got a reset, by reason. */
  readonly losses: Readonly<Record<LossReason, number>>;
}

/** Runs of this process: see {@link SseMetrics}. */
export interface SseRunMetrics {
  /** Runs that this process produces now, or is about to. */
  readonly live: number;
  /** Runs that were started here. */
  readonly started: number;
  /** Starts that were refused because of `runs.maxRuns` or a limit of the owner. */
  readonly refused: number;
  /** Runs whose end this process has recorded, also in place of a process that is gone. One instance counts each. */
  readonly ended: Readonly<Record<RunEndReason, number>>;
}

/** The parts of the module that count. */
interface Counting {
  readonly registry: ConnectionRegistry;
  readonly topics: Topics;
  readonly runs: Runs;
  /** Absent if the app issues none. */
  readonly tickets: Tickets | undefined;
  readonly revocations: Revocations;
}

/** Takes a snapshot of all counts. */
export function takeMetrics({ registry, topics, runs, tickets, revocations }: Counting): SseMetrics {
  const { issued, ...presented } = tickets?.counts ?? { issued: 0, opened: 0, spent: 0, invalid: 0 };
  const { events, bytes: writtenBytes, savedBytes } = registry.writeCounts;
  return {
    connections: connectionsOf(registry),
    sent: { events, bytes: writtenBytes + savedBytes, writtenBytes },
    topics: topicsOf(topics),
    log: logOf(topics),
    runs: {
      live: runs.live,
      started: runs.counts.started,
      refused: runs.counts.refused,
      ended: { ...runs.counts.ended },
    },
    limitsReached: { ...topics.limits.reached },
    tickets: { issued, presented },
    revocations: {
      keys: revocations.size,
      revoked: revocations.revokedHere,
      refused: revocations.refusedHere,
    },
    presence: topics.presence.counts,
  };
}

function connectionsOf({
  size,
  flushing,
  queuedBytes,
  isDraining,
  counts,
}: ConnectionRegistry): SseConnectionMetrics {
  return {
    open: size,
    flushing,
    queuedBytes,
    isDraining,
    opened: counts.opened,
    closed: { ...counts.closed },
    turnedAway: { ...counts.turnedAway },
    lifetimes: counts.lifetimes.read(),
  };
}

function topicsOf(topics: Topics): SseTopicMetrics {
  const { followers, counts, publishes, fanOut } = topics;
  const { behind, maxEvents } = topics.lag();
  return {
    followers,
    behind,
    maxLagEvents: maxEvents,
    started: { new: counts.new, ring: counts.ring, log: counts.log },
    resets: { ...counts.resets },
    snapshots: counts.snapshots,
    withheld: counts.withheld,
    published: { ...publishes.outcomes },
    publishing: publishes.durations.read(),
    fanOut: fanOut.durations.read(),
    pendingEvents: fanOut.pending,
  };
}

function logOf({ health, tail, received, losses, publishes }: Topics): SseLogMetrics {
  return {
    state: health.state,
    received,
    lagEvents: publishes.unreadAfter(tail.epoch, tail.last),
    losses: { ...losses },
  };
}
