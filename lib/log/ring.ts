import type { LogEvent } from './log-event.js';

/**
 * The newest part of a log, in this process's memory, in order and by topic: what a client has
 * missed of a topic is found without looking at the rest.
 */
export class Ring {
  readonly #capacity: number;
  /** Sequence `s` stands at index `s % capacity`. */
  #events: (LogEvent | undefined)[] = [];
  readonly #topics = new Map<string, TopicEvents>();
  #first = 1;
  #last = 0;

  /** @param capacity the most events that it holds, 1 or more */
  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /** The lowest sequence that it holds; one past {@link last} where it holds none. */
  get first(): number {
    return this.#first;
  }

  /** The highest sequence that it has held; where it is empty, the one after which the next stands. */
  get last(): number {
    return this.#last;
  }

  get topics(): Iterable<string> {
    return this.#topics.keys();
  }

  /** How many topics have events in it. */
  get topicCount(): number {
    return this.#topics.size;
  }

  /** Empties it; the next event is the one after `last`. */
  clear(last: number): void {
    this.#events = [];
    this.#topics.clear();
    this.#first = last + 1;
    this.#last = last;
  }

  /** Adds the next event, which follows {@link last}. */
  push(event: LogEvent): void {
    const { sequence, topic } = event.record;
    if (sequence !== this.#last + 1) {
      throw new RangeError(`The ring stands at ${this.#last}, and ${sequence} does not follow it.`);
    }
    if (sequence - this.#first >= this.#capacity) {
      this.#dropFirst();
    }
    this.#events[sequence % this.#capacity] = event;
    this.#last = sequence;
    const sameTopic = this.#topics.get(topic);
    if (sameTopic) {
      sameTopic.push(event);
    } else {
      this.#topics.set(topic, new TopicEvents(event));
    }
  }

  /** The event with that sequence, where the ring holds it. */
  at(sequence: number): LogEvent | undefined {
    return sequence >= this.#first && sequence <= this.#last
      ? this.#events[sequence % this.#capacity]
      : undefined;
  }

  /** The events of a topic after a sequence, in order, `limit` at most. */
  eventsOf(topic: string, after: number, limit: number): readonly LogEvent[] {
    return this.#topics.get(topic)?.after(after, limit) ?? [];
  }

  #dropFirst(): void {
    const index = this.#first % this.#capacity;
    const { topic } = this.#events[index]!.record;
    const sameTopic = this.#topics.get(topic)!;
    sameTopic.shift();
    if (sameTopic.isEmpty) {
      this.#topics.delete(topic);
    }
    this.#events[index] = undefined;
    this.#first += 1;
  }
}

/** The events of one topic, taken off at the front as the ring moves on. */
class TopicEvents {
  #events: LogEvent[];
  #start = 0;

  constructor(first: LogEvent) {
    this.#events = [first];
  }

  get isEmpty(): boolean {
    return this.#start === this.#events.length;
  }

  push(event: LogEvent): void {
    this.#events.push(event);
  }

  shift(): void {
    this.#start += 1;
    // Array.shift() moves every event that is left; this moves each one once or less, on average.
    if (this.#start > 32 && this.#start * 2 > this.#events.length) {
      this.#events = this.#events.slice(this.#start);
      this.#start = 0;
    }
  }

  after(sequence: number, limit: number): readonly LogEvent[] {
    let low = this.#start;
    let high = this.#events.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#events[middle]!.record.sequence <= sequence) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return this.#events.slice(low, low + limit);
  }
}
