import { SseError } from '../errors/sse.error.js';
import type { TypedPattern } from './topic-event.js';
import { parsePattern, tokenOf } from './topic-name.js';

/** The events of a topic: data by event type. An event without a type is a `message`. */
export type TopicEvents = object;

/** One topic with typed events. */
export class TypedTopic<Events extends TopicEvents> implements TypedPattern<Events> {
  declare readonly events?: Events;

  /** @internal */
  constructor(readonly pattern: string) {}

  /** Returns the topic's name. */
  toString(): string {
    return this.pattern;
  }
}

/** The topics of a pattern, with typed events: see {@link defineTopic}. */
export class TopicFamily<Events extends TopicEvents> implements TypedPattern<Events> {
  declare readonly events?: Events;
  readonly #tokens: readonly string[];

  /** @internal */
  constructor(readonly pattern: string) {
    this.#tokens = parsePattern(pattern);
    if (this.#tokens.includes('>')) {
      throw new SseError(
        'topic-invalid',
        `defineTopic(${JSON.stringify(pattern)}): ">" names no single topic. Write one "*" for each value.`,
      );
    }
  }

  /**
   * Returns one topic of the family. Each value replaces a `*` and is escaped as in the `topic` template.
   *
   * @throws SseError `topic-invalid` if the number of values differs from the number of `*`
   */
  of(...values: (string | number | bigint | boolean)[]): TypedTopic<Events> {
    const places = this.#tokens.filter((token) => token === '*').length;
    if (values.length !== places) {
      throw new SseError('topic-invalid', `${this.pattern} takes ${places} values, got ${values.length}.`);
    }
    const rest = [...values];
    return new TypedTopic(
      this.#tokens.map((token) => (token === '*' ? tokenOf(rest.shift()) : token)).join('.'),
    );
  }

  /** Returns the pattern that all topics of the family match. */
  toString(): string {
    return this.pattern;
  }
}

/**
 * Defines a family of topics and the types of its events. The compiler then checks type and data where events are
 * published and where they are followed.
 *
 * @param pattern - tokens joined by dots, with a `*` for each value
 *
 * @example
 * ```ts
 * const orders = defineTopic<{ created: Order; cancelled: { reason: string } }>('orders.*');
 * await sse.publish(orders.of(order.id), { type: 'created', data: order });
 * connection.follow(orders, { filter: ({ event }) => event.type === 'cancelled' });
 * ```
 */
export function defineTopic<Events extends TopicEvents>(pattern: string): TopicFamily<Events> {
  return new TopicFamily<Events>(pattern);
}
