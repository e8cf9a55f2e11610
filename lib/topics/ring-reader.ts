import type { LogEvent, Ring } from '../log/index.js';
import type { Subscription } from './subscription.js';

/** What of the ring a follower is to get next. */
export interface RingRead {
  readonly events: readonly LogEvent[];
  /** All that matches up to this sequence is among the events. */
  readonly upTo: number;
}

// A ring's event that is looked at costs about as much as a topic that is.
const SCAN_PER_TOPIC = 4;

/**
 * The events after a sequence that some subscription covers, in order, about `limit` at most. Costs
 * what it finds, or what the ring has got since, whichever is less.
 */
export function readRing(
  ring: Ring,
  subscriptions: readonly Subscription[],
  after: number,
  limit: number,
): RingRead {
  const topics = namedTopics(subscriptions);
  if (topics) {
    return readTopics(ring, topics, after, limit);
  }
  if (ring.last - after > ring.topicCount * SCAN_PER_TOPIC) {
    return readTopics(ring, coveredTopics(ring, subscriptions), after, limit);
  }
  return scan(ring, subscriptions, after, limit);
}

/** The topics of subscriptions that have no wildcards. */
function namedTopics(subscriptions: readonly Subscription[]): string[] | undefined {
  const patterns = subscriptions.flatMap((subscription) => subscription.patterns);
  return patterns.some((tokens) => tokens.includes('*') || tokens.includes('>'))
    ? undefined
    : patterns.map((tokens) => tokens.join('.'));
}

function coveredTopics(ring: Ring, subscriptions: readonly Subscription[]): string[] {
  const matchers = subscriptions.map((subscription) => subscription.matcher());
  const topics: string[] = [];
  for (const topic of ring.topics) {
    const tokens = topic.split('.');
    if (matchers.some((matches) => matches(tokens))) {
      topics.push(topic);
    }
  }
  return topics;
}

function readTopics(ring: Ring, topics: readonly string[], after: number, limit: number): RingRead {
  const found = new Map<number, LogEvent>();
  let complete = ring.last;
  for (const topic of topics) {
    const events = ring.eventsOf(topic, after, limit);
    for (const event of events) {
      found.set(event.record.sequence, event);
    }
    if (events.length === limit) {
      // This topic goes on: what the others have beyond it comes with the next read.
      complete = Math.min(complete, events.at(-1)!.record.sequence);
    }
  }
  const events = [...found.values()].sort((a, b) => a.record.sequence - b.record.sequence);
  if (events.length <= limit) {
    return { events, upTo: complete };
  }
  const taken = events.slice(0, limit);
  return { events: taken, upTo: taken.at(-1)!.record.sequence };
}

function scan(ring: Ring, subscriptions: readonly Subscription[], after: number, limit: number): RingRead {
  const matchers = subscriptions.map((subscription) => subscription.matcher());
  const events: LogEvent[] = [];
  let sequence = after;
  while (sequence < ring.last && events.length < limit) {
    sequence += 1;
    const event = ring.at(sequence)!;
    const tokens = event.topicTokens;
    if (matchers.some((matches) => matches(tokens))) {
      events.push(event);
    }
  }
  return { events, upTo: sequence };
}
