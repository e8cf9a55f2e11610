import type { SseService } from '../index.js';
import type { InstanceReport } from './protocol.js';

const MAX_REASON = 300;

/** Returns the report of this instance. It goes over all followers. */
export function reportOf(
  sse: Pick<SseService, 'metrics' | 'health'>,
  id: string,
  name: string,
): InstanceReport {
  const { metrics, health } = sse;
  const { connections, topics, log, runs } = metrics;
  return {
    id,
    name,
    log: {
      state: health.state,
      reason: (health.reason ?? '').slice(0, MAX_REASON),
      sinceMs: Math.max(0, Date.now() - health.since.getTime()),
    },
    isDraining: connections.isDraining,
    figures: {
      connections: connections.open,
      flushing: connections.flushing,
      queuedBytes: connections.queuedBytes,
      followers: topics.followers,
      behind: topics.behind,
      maxLagEvents: topics.maxLagEvents,
      logLagEvents: log.lagEvents,
      pendingEvents: topics.pendingEvents,
      runs: runs.live,
      revokedKeys: metrics.revocations.keys,
      opened: connections.opened,
      received: log.received,
      sentEvents: metrics.sent.events,
      sentBytes: metrics.sent.bytes,
    },
    counts: {
      closed: connections.closed,
      turnedAway: connections.turnedAway,
      started: topics.started,
      resets: topics.resets,
      published: topics.published,
      losses: log.losses,
      runsEnded: runs.ended,
      limitsReached: metrics.limitsReached,
    },
  };
}
