import cluster from 'node:cluster';
import type { EventLogStore } from './event-log.js';

const warned = new WeakSet<EventLogStore>();

/**
 * Warns once if the log is in this process's memory and the process is one of several workers. PM2 and `node:cluster`
 * send a returning client to any of them.
 */
export function warnOfOtherProcesses(store: EventLogStore, reporter: { warn(message: string): void }): void {
  if (!cluster.isWorker || store.isShared || warned.has(store)) {
    return;
  }
  warned.add(store);
  reporter.warn(
    'This process is one of a cluster, and its log is in its own memory: what one worker publishes reaches no ' +
      'client of another, a client that comes back to another gets a reset, and the runs of one are unknown to another. ' +
      'Run one process, or give all of them a log that they share: ' +
      'redis() of nestjs-event-stream/redis, nats() of nestjs-event-stream/nats, or postgres() of ' +
      'nestjs-event-stream/postgres.',
  );
}
