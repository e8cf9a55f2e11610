import type { LogEvent, Ring } from '../log/index.js';
import { isWide, matcherOf } from './pattern-trie.js';

/** The events that a follower reads next. */
export interface RingRead {
  readonly events: readonly LogEvent[];
  /** The events are complete up to this sequence. */
  readonly upTo: number;
}

// Costs, relative to checking one event of the ring: matching a topic's name, and sorting an event.
const SCAN_PER_TOPIC = 4;
const SCAN_PER_SORTED = 16;
// About a millisecond. Later events come with the next read.
const SCANNED_PER_READ = 20_000;

/**
 * Reads the events after a sequence that one of the subscriptions covers, in order, at most about `limit`. It costs as
 * much as the events that it finds, or as the events of the ring after the sequence, whichever is less.
 */
export function readRing(
  ring: Ring,
  subscriptions: readonly { readonly patterns: readonly string[] }[],
  after: number,
  limit: number,
): RingRead {
  const patterns = subscriptions.flatMap((subscription) => subscription.patterns);
  const topics = topicsToRead(ring, patterns, ring.last - after);
  return topics ? readTopics(ring, topics, after, limit) : scan(ring, patterns, after, limit);
}

/** Returns the topics to read, if that is faster than checking each event; else undefined. */
function topicsToRead(ring: Ring, patterns: readonly string[], ahead: number): readonly string[] | undefined {
  if (patterns.length === 1 && !isWide(patterns[0]!)) {
    return patterns;
  }
  if (!patterns.some(isWide)) {
    return ifSparse(ring, patterns, ahead);
  }
  return ahead > ring.topicCount * SCAN_PER_TOPIC
    ? ifSparse(ring, covered(ring, patterns), ahead)
    : undefined;
}

function* covered(ring: Ring, patterns: readonly string[]): Generator<string> {
  const covers = matcherOf(patterns);
  for (const topic of ring.topics) {
    if (covers(topic, topic.split('.'))) {
      yield topic;
    }
  }
}

/** Returns the topics if they have few of the events ahead; else undefined. */
function ifSparse(ring: Ring, topics: Iterable<string>, ahead: number): readonly string[] | undefined {
  const read: string[] = [];
  let cost = 0;
  for (const topic of topics) {
    cost += 1 + ring.countOf(topic);
    if (cost * SCAN_PER_SORTED > ahead) {
      return undefined;
    }
    read.push(topic);
  }
  return read;
}

function readTopics(ring: Ring, topics: readonly string[], after: number, limit: number): RingRead {
  if (topics.length === 1) {
    const events = ring.eventsOf(topics[0]!, after, limit);
    return { events, upTo: events.length === limit ? events.at(-1)!.record.sequence : ring.last };
  }
  const found = new Map<number, LogEvent>();
  let complete = ring.last;
  for (const topic of topics) {
    const events = ring.eventsOf(topic, after, limit);
    for (const event of events) {
      found.set(event.record.sequence, event);
    }
    if (events.length === limit) {
      // This topic goes on. Events of the other topics beyond it come with the next read.
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

function scan(ring: Ring, patterns: readonly string[], after: number, limit: number): RingRead {
  const covers = matcherOf(patterns);
  const events: LogEvent[] = [];
  const last = Math.min(ring.last, after + SCANNED_PER_READ);
  let sequence = after;
  while (sequence < last && events.length < limit) {
    sequence += 1;
    const event = ring.at(sequence)!;
    if (covers(event.record.topic, event.topicTokens)) {
      events.push(event);
    }
  }
  return { events, upTo: sequence };
}
