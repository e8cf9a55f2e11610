import type { LogEvent, Ring } from '../log/index.js';
import { isWide, matcherOf } from './pattern-trie.js';

/** What of the ring a follower is to get next. */
export interface RingRead {
  readonly events: readonly LogEvent[];
  /** All that matches up to this sequence is among the events. */
  readonly upTo: number;
}

// A look at a ring's event costs about as much as the match of a topic's name, and far less than an event that is sorted.
const SCAN_PER_TOPIC = 4;
const SCAN_PER_SORTED = 16;
// About a millisecond of looks; what is beyond comes with the next read.
const SCANNED_PER_READ = 20_000;

/**
 * The events after a sequence that some subscription covers, in order, about `limit` at most. Costs
 * what it finds, or what the ring has got since, whichever is less.
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

/** The topics by which the events are found sooner than by a look at each event; undefined if there are no such. */
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

/** The topics, if they have few events of those that are ahead. */
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
