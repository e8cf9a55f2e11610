import type { SseDurations, SseMetrics } from '../index.js';

/** A number, or one for each value of the family's label, that exporters read from a snapshot. */
export interface MetricFamily {
  /** Tokens joined by dots, as OpenTelemetry names metrics. */
  readonly name: string;
  readonly kind: 'counter' | 'gauge';
  /** As OpenTelemetry writes units: UCUM, or what is counted in braces. */
  readonly unit: string;
  readonly help: string;
  /** How the numbers of several instances are joined. */
  readonly joinedBy: 'sum' | 'max';
  /** What the numbers are told apart by. Its values are fixed: nothing of a client, a topic or a key. */
  readonly label?: string;
  /** With a label, the values are the names of the record. */
  read(metrics: SseMetrics): number | Readonly<Record<string, number>>;
}

/** Durations that exporters read from a snapshot. */
export interface DurationFamily {
  readonly name: string;
  readonly help: string;
  read(metrics: SseMetrics): SseDurations;
}

const counter = (
  name: string,
  unit: string,
  help: string,
  read: (metrics: SseMetrics) => number,
): MetricFamily => ({ name, kind: 'counter', unit, help, joinedBy: 'sum', read });

const counters = (
  name: string,
  label: string,
  unit: string,
  help: string,
  read: (metrics: SseMetrics) => Readonly<Record<string, number>>,
): MetricFamily => ({ name, kind: 'counter', unit, help, joinedBy: 'sum', label, read });

const gauge = (
  name: string,
  unit: string,
  help: string,
  read: (metrics: SseMetrics) => number,
  joinedBy: 'sum' | 'max' = 'sum',
): MetricFamily => ({ name, kind: 'gauge', unit, help, joinedBy, read });

const CONNECTIONS: readonly MetricFamily[] = [
  gauge(
    'sse.connections',
    '{connection}',
    'Event streams that are open.',
    ({ connections }) => connections.open,
  ),
  gauge(
    'sse.connections.flushing',
    '{connection}',
    'Event streams that have closed and still have bytes to deliver.',
    ({ connections }) => connections.flushing,
  ),
  gauge(
    'sse.queued',
    'By',
    'Bytes that wait in the process for clients that do not keep up.',
    ({ connections }) => connections.queuedBytes,
  ),
  gauge(
    'sse.draining',
    '1',
    '1 while the app is closing its event streams, else 0.',
    ({ connections }) => Number(connections.isDraining),
    'max',
  ),
  counter(
    'sse.connections.opened',
    '{connection}',
    'Event streams that were admitted.',
    ({ connections }) => connections.opened,
  ),
  counters(
    'sse.connections.closed',
    'reason',
    '{connection}',
    'Event streams that have closed.',
    ({ connections }) => connections.closed,
  ),
  counters(
    'sse.connections.turned_away',
    'reason',
    '{connection}',
    'Clients that were not admitted.',
    ({ connections }) => connections.turnedAway,
  ),
  counter(
    'sse.events.sent',
    '{event}',
    'Events that were written to clients, counted for each client.',
    ({ sent }) => sent.events,
  ),
  counter(
    'sse.sent',
    'By',
    'Bytes of frames, comments and heartbeats that were written to clients, before compression.',
    ({ sent }) => sent.bytes,
  ),
  counter(
    'sse.written',
    'By',
    'The same bytes as they left: fewer where compression is on.',
    ({ sent }) => sent.writtenBytes,
  ),
];

const TOPICS: readonly MetricFamily[] = [
  gauge('sse.followers', '{connection}', 'Connections that follow topics.', ({ topics }) => topics.followers),
  gauge(
    'sse.followers.behind',
    '{connection}',
    'Followers that have not got every event that was offered.',
    ({ topics }) => topics.behind,
  ),
  gauge(
    'sse.followers.lag.max',
    '{event}',
    'The most events between the place of a follower and the newest one.',
    ({ topics }) => topics.maxLagEvents,
    'max',
  ),
  counters(
    'sse.followers.started',
    'from',
    '{connection}',
    'Followers that began as new, or resumed exactly from the memory of the process or from the log.',
    ({ topics }) => topics.started,
  ),
  counters(
    'sse.resets',
    'reason',
    '{reset}',
    'Followers that could not go on exactly, and got a reset or a snapshot.',
    ({ topics }) => topics.resets,
  ),
  counter('sse.snapshots', '{snapshot}', 'Followers that got snapshots.', ({ topics }) => topics.snapshots),
  counter(
    'sse.events.withheld',
    '{event}',
    'Events that authorize withheld, counted for each client.',
    ({ topics }) => topics.withheld,
  ),
  counters(
    'sse.publishes',
    'outcome',
    '{event}',
    'Events that the process was asked to publish.',
    ({ topics }) => topics.published,
  ),
  gauge(
    'sse.fan_out.pending',
    '{event}',
    'Events that were received and are still to be offered to followers.',
    ({ topics }) => topics.pendingEvents,
  ),
];

const LOG: readonly MetricFamily[] = [
  {
    name: 'sse.log.state',
    kind: 'gauge',
    unit: '1',
    help: '1 for the state of the log, 0 for the others.',
    joinedBy: 'max',
    label: 'state',
    read: ({ log }) => ({
      ready: Number(log.state === 'ready'),
      degraded: Number(log.state === 'degraded'),
      down: Number(log.state === 'down'),
    }),
  },
  gauge(
    'sse.log.lag',
    '{event}',
    'Events that the log has acknowledged to the process and not yet brought back.',
    ({ log }) => log.lagEvents,
  ),
  counter('sse.log.received', '{event}', 'Events received from the log.', ({ log }) => log.received),
  counters(
    'sse.log.losses',
    'reason',
    '{loss}',
    'Times that the process has lost its place in the log.',
    ({ log }) => log.losses,
  ),
];

const OTHERS: readonly MetricFamily[] = [
  gauge('sse.runs', '{run}', 'Runs that the process produces.', ({ runs }) => runs.live),
  counter('sse.runs.started', '{run}', 'Runs that were started.', ({ runs }) => runs.started),
  counter('sse.runs.refused', '{run}', 'Runs that a limit refused.', ({ runs }) => runs.refused),
  counters(
    'sse.runs.ended',
    'reason',
    '{run}',
    'Runs whose end the process recorded.',
    ({ runs }) => runs.ended,
  ),
  counters(
    'sse.limits.reached',
    'limit',
    '{time}',
    'Times that a limit was reached.',
    ({ limitsReached }) => limitsReached,
  ),
  counter('sse.tickets.issued', '{ticket}', 'Tickets issued.', ({ tickets }) => tickets.issued),
  counters(
    'sse.tickets.presented',
    'outcome',
    '{ticket}',
    'Tickets that clients presented.',
    ({ tickets }) => tickets.presented,
  ),
  gauge('sse.revocations', '{key}', 'Keys that are kept away.', ({ revocations }) => revocations.keys),
  counter(
    'sse.revocations.made',
    '{key}',
    'Keys that the process was told to revoke.',
    ({ revocations }) => revocations.revoked,
  ),
  counter(
    'sse.revocations.refused',
    '{key}',
    'Keys that were not revoked, since as many are as can be.',
    ({ revocations }) => revocations.refused,
  ),
  gauge(
    'sse.presence.members',
    '{member}',
    'Members of topics that the process knows, once for each instance that they are connected to.',
    ({ presence }) => presence.members,
    'max',
  ),
  gauge(
    'sse.presence.own',
    '{member}',
    'Members of topics by connections of the process.',
    ({ presence }) => presence.ownMembers,
  ),
  gauge(
    'sse.presence.topics',
    '{topic}',
    'Topics that have members by connections of the process.',
    ({ presence }) => presence.ownTopics,
  ),
  counter(
    'sse.presence.refused',
    '{call}',
    'Calls of follow that a bound of presence refused.',
    ({ presence }) => presence.refused,
  ),
];

/** Everything but durations that exporters export. */
export const METRIC_FAMILIES: readonly MetricFamily[] = [...CONNECTIONS, ...TOPICS, ...LOG, ...OTHERS];

/** The durations that exporters export. */
export const DURATION_FAMILIES: readonly DurationFamily[] = [
  {
    name: 'sse.connection.duration',
    help: 'How long closed event streams had been open.',
    read: ({ connections }) => connections.lifetimes,
  },
  {
    name: 'sse.publish.duration',
    help: 'How long the log took to answer a publish.',
    read: ({ topics }) => topics.publishing,
  },
  {
    name: 'sse.fan_out.duration',
    help: 'How long it took from the receipt of events until they were offered to all followers.',
    read: ({ topics }) => topics.fanOut,
  },
];
