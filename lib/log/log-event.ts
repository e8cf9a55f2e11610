import { Chunk, encodeRecord, encodeRunRecord, escapeLineSeparators, formatPosition } from '../wire/index.js';
import type { Position, TopicEvent } from '../wire/index.js';
import type { LogRecord } from './event-log.js';
import { bytesInMemory } from './text-bytes.js';

const RECORD_BYTES = 300;
// Beside its text an event has its frame, bare and as a chunk, as UTF-8.
const FRAMES = 2;

/** A record with what is made of it, each at most once in a process, and only where it is asked for. */
export class LogEvent {
  readonly record: LogRecord;
  readonly #epoch: string;
  /** 0 until it is asked for. */
  #weight = 0;
  #tokens: readonly string[] | undefined;
  #position: Position | undefined;
  #plain: Chunk | undefined;
  #envelope: Chunk | undefined;
  // Held weakly: those who ask in one turn share it, and it does not stay with the event for as long as the ring.
  #topicEvent: WeakRef<TopicEvent> | undefined;

  constructor(record: LogRecord, epoch: string) {
    this.record = record;
    this.#epoch = epoch;
  }

  /** Bytes that it takes, about: the record, and its frame both bare and as a chunk. */
  get weight(): number {
    this.#weight ||= weightOf(this.record);
    return this.#weight;
  }

  get topicTokens(): readonly string[] {
    this.#tokens ??= this.record.topic.split('.');
    return this.#tokens;
  }

  get position(): Position {
    this.#position ??= formatPosition({ ...this.record, epoch: this.#epoch });
    return this.#position;
  }

  /** The frame as a run's clients get it, made anew each time: they get many joined to one. */
  get runFrame(): string {
    const { sequence, nonce } = this.record;
    return encodeRunRecord(this.record, formatPosition({ epoch: this.#epoch, sequence, nonce }));
  }

  /** The frame that its followers get. */
  get plain(): Chunk {
    this.#plain ??= new Chunk(encodeRecord(this.record, this.position));
    return this.#plain;
  }

  /** The same with the topic beside the data: see `FollowOptions.envelope`. */
  get envelope(): Chunk {
    if (!this.#envelope) {
      const { topic, type, isJson } = this.record;
      const data = isJson ? this.record.data : escapeLineSeparators(JSON.stringify(this.record.data));
      const envelope = { type, data: `{"topic":${JSON.stringify(topic)},"data":${data}}`, isJson: true };
      this.#envelope = new Chunk(encodeRecord(envelope, this.position));
    }
    return this.#envelope;
  }

  get topicEvent(): TopicEvent {
    const shared = this.#topicEvent?.deref();
    if (shared) {
      return shared;
    }
    const { topic, type, data, isJson } = this.record;
    const event = Object.freeze({
      data: isJson ? (JSON.parse(data) as unknown) : data,
      ...(type ? { type } : {}),
    });
    const topicEvent = Object.freeze({ topic, position: this.position, event });
    this.#topicEvent = new WeakRef(topicEvent);
    return topicEvent;
  }
}

function weightOf({ topic, type = '', data }: LogRecord): number {
  const names = topic.length + type.length;
  return RECORD_BYTES + names + bytesInMemory(data) + FRAMES * (names + Buffer.byteLength(data));
}
