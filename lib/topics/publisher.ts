import { show, SseError } from '../errors/index.js';
import type { Reporter } from '../errors/index.js';
import type { EventLogStore, NewRecord } from '../log/index.js';
import type { Span } from '../time/index.js';
import { encodePayload, formatPosition, parseTopic, unknownFields } from '../wire/index.js';
import type { Position, SseEventInput } from '../wire/index.js';
import { PublishCounts } from './publish-counts.js';
import type { TopicSettings } from './topic.settings.js';
import type { PublishEnd, TopicTracer } from './topic-tracer.js';

// Each set of unknown fields is warned of once. The bound keeps clients' field names out of memory.
const MAX_WARNINGS = 100;

/** Checks events and appends them to the log. */
export class Publisher {
  readonly counts = new PublishCounts();
  tracer: TopicTracer | undefined;
  readonly #store: Pick<EventLogStore, 'log' | 'appendWithin'>;
  readonly #settings: TopicSettings;
  readonly #reporter: Reporter;
  readonly #warnedFields = new Set<string>();
  readonly #pending = new Set<Promise<unknown>>();
  #isClosed = false;

  constructor(
    store: Pick<EventLogStore, 'log' | 'appendWithin'>,
    settings: TopicSettings,
    reporter: Reporter,
  ) {
    this.#store = store;
    this.#settings = settings;
    this.#reporter = reporter;
  }

  /**
   * Appends an event to the log.
   *
   * @returns its position, when the log has it
   */
  publish(topic: string, event: SseEventInput): Promise<Position> {
    const span = this.tracer?.publish(topic);
    return span ? this.#publishWithin(span, topic, event) : this.#publish(topic, event);
  }

  async #publishWithin(span: Span<PublishEnd>, topic: string, event: SseEventInput): Promise<Position> {
    try {
      const position = await span.within(() => this.#publish(topic, event));
      span.end({ position });
      return position;
    } catch (error) {
      span.end({ error });
      throw error;
    }
  }

  async #publish(topic: string, event: SseEventInput): Promise<Position> {
    const publishing = this.counts.count(this.#store.log.append([this.#check(topic, event)]));
    this.#pending.add(publishing);
    try {
      const { epoch, records } = await publishing;
      const { sequence, nonce } = records[0]!;
      return formatPosition({ epoch, sequence, nonce });
    } finally {
      this.#pending.delete(publishing);
    }
  }

  /**
   * Gives an event to a transaction of the app. It has no position before the transaction commits.
   *
   * @throws SseError `misuse` if the log cannot do that, or the transaction is none; the error of the app's library
   */
  async publishWithin(transaction: unknown, topic: string, event: SseEventInput): Promise<void> {
    if (!this.#store.appendWithin) {
      throw new SseError(
        'misuse',
        'publish() takes a transaction if the log is in the database of the transaction: log: postgres(…) of ' +
          'nestjs-event-stream/postgres. With a log on Redis or NATS, set an outbox in that database: outbox: ' +
          'postgresOutbox(…) of nestjs-event-stream/postgres. Without either, publish after the commit: an event may be ' +
          'lost if the process ends in between.',
        { field: 'transaction', isOutcomeKnown: true },
      );
    }
    const adding = this.#store.appendWithin(transaction, [this.#check(topic, event)]);
    this.#pending.add(adding);
    await adding.finally(() => this.#pending.delete(adding));
  }

  /** Refuses new events. Resolves when those that were accepted are settled. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.allSettled(this.#pending);
  }

  /** Returns what is appended to the log. @throws SseError if the event cannot be published */
  #check(topic: string, event: SseEventInput): NewRecord {
    try {
      return this.#recordOf(topic, event);
    } catch (error) {
      this.counts.outcomes.refused += 1;
      throw error;
    }
  }

  #recordOf(topic: string, event: SseEventInput): NewRecord {
    parseTopic(topic);
    const payload = encodePayload(event, this.#settings);
    this.#refuseOurs(payload.type);
    this.#warnOfUnknownFields(topic, event);
    if (this.#isClosed) {
      throw new SseError('closed', 'The app is shutting down: the event was not published.', {
        isOutcomeKnown: true,
      });
    }
    return { topic, ...payload };
  }

  /** Refuses the types of our own events: a client would take its state for lost. */
  #refuseOurs(type: string | undefined): void {
    const { resetEvent, cursorEvent } = this.#settings;
    if (type !== undefined && (type === resetEvent || type === cursorEvent)) {
      const option = type === resetEvent ? 'resetEvent' : 'cursorEvent';
      throw new SseError(
        'event-invalid',
        `The type ${show(type)} is that of an event with which this module tells clients their place in the log. ` +
          `Publish another type, or give ours another name with the option ${option}.`,
        { field: 'type' },
      );
    }
  }

  #warnOfUnknownFields(topic: string, event: unknown): void {
    const fields = unknownFields(event).map(show).join(', ');
    if (fields && !this.#warnedFields.has(fields) && this.#warnedFields.size < MAX_WARNINGS) {
      this.#warnedFields.add(fields);
      this.#reporter.warn(
        `An event published to ${topic} has ${fields} beside data, which no event has and no client gets. ` +
          'An event has data and type; anything else belongs into data.',
      );
    }
  }
}
