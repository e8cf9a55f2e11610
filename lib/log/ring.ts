import type { LogEvent } from './log-event.js';
import { Queue } from './queue.js';

/** The newest part of a log, in this process's memory, in order and by topic: reading one topic skips all others. */
export class Ring {
  readonly #capacity: number;
  readonly #maxBytes: number;
  /** The event with sequence `s` is at index `s % capacity`. */
  #events: (LogEvent | undefined)[] = [];
  #bytes = 0;
  readonly #topics = new Map<string, Queue<LogEvent>>();
  #first = 1;
  #last = 0;

  /**
   * @param capacity - the most events that it holds, 1 or more
   * @param maxBytes - the most bytes that they take, as {@link LogEvent.weight} counts. The newest event is always held
   */
  constructor(capacity: number, maxBytes: number) {
    this.#capacity = capacity;
    this.#maxBytes = maxBytes;
  }

  /** The lowest sequence that it holds; one past {@link last} if it holds none. */
  get first(): number {
    return this.#first;
  }

  /** The highest sequence that it has held. The next event is the one after it. */
  get last(): number {
    return this.#last;
  }

  get topics(): Iterable<string> {
    return this.#topics.keys();
  }

  /** The number of topics that have events in the ring. */
  get topicCount(): number {
    return this.#topics.size;
  }

  /** Empties the ring. The next event is the one after `last`. */
  clear(last: number): void {
    this.#events = [];
    this.#topics.clear();
    this.#bytes = 0;
    this.#first = last + 1;
    this.#last = last;
  }

  /** Adds the next event, which follows {@link last}. */
  push(event: LogEvent): void {
    const { sequence, topic } = event.record;
    if (sequence !== this.#last + 1) {
      throw new RangeError(`The ring stands at ${this.#last}, and ${sequence} does not follow it.`);
    }
    this.#bytes += event.weight;
    while (
      this.#first < sequence &&
      (sequence - this.#first >= this.#capacity || this.#bytes > this.#maxBytes)
    ) {
      this.#dropFirst();
    }
    this.#events[sequence % this.#capacity] = event;
    this.#last = sequence;
    let sameTopic = this.#topics.get(topic);
    if (!sameTopic) {
      sameTopic = new Queue();
      this.#topics.set(topic, sameTopic);
    }
    sameTopic.push(event);
  }

  /** Returns the event with a sequence, if the ring holds it. */
  at(sequence: number): LogEvent | undefined {
    return sequence >= this.#first && sequence <= this.#last
      ? this.#events[sequence % this.#capacity]
      : undefined;
  }

  /** Returns how many events of a topic it holds. */
  countOf(topic: string): number {
    return this.#topics.get(topic)?.length ?? 0;
  }

  /** Returns the events of a topic after a sequence, in order, at most `limit`. */
  eventsOf(topic: string, after: number, limit: number): readonly LogEvent[] {
    const events = this.#topics.get(topic);
    return events ? events.slice(countUpTo(events, after), limit) : [];
  }

  #dropFirst(): void {
    const index = this.#first % this.#capacity;
    const dropped = this.#events[index]!;
    this.#events[index] = undefined;
    this.#bytes -= dropped.weight;
    const { topic } = dropped.record;
    const sameTopic = this.#topics.get(topic)!;
    sameTopic.shift();
    if (sameTopic.length === 0) {
      this.#topics.delete(topic);
    }
    this.#first += 1;
  }
}

/** Counts the events up to a sequence. The events are in order. */
function countUpTo(events: Queue<LogEvent>, sequence: number): number {
  let low = 0;
  let high = events.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (events.at(middle)!.record.sequence <= sequence) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}
