import { Chunk, encodeRecord, encodeRunRecord, escapeLineSeparators, formatPosition } from '../wire/index.js';
import type { Position, TopicEvent } from '../wire/index.js';
import type { LogRecord } from './event-log.js';
import { bytesInMemory } from './text-bytes.js';

const RECORD_BYTES = 300;
// Besides its text, an event keeps its frame as UTF-8: bare, and as a chunk.
const FRAMES = 2;

/** A record with its encoded forms. Each form is made on first use, and once for all clients of the process. */
export class LogEvent {
  readonly record: LogRecord;
  readonly #epoch: string;
  /** 0 until its first use. */
  #weight = 0;
  #tokens: readonly string[] | undefined;
  #position: Position | undefined;
  #plain: Chunk | undefined;
  #envelope: Chunk | undefined;
  // Held weakly: callers in one turn share it, and it does not stay in memory as long as the event is in the ring.
  #topicEvent: WeakRef<TopicEvent> | undefined;

  constructor(record: LogRecord, epoch: string) {
    this.record = record;
    this.#epoch = epoch;
  }

  /** Approximate bytes in memory: the record, and its frame both bare and as a chunk. */
  get weight(): number {
    this.#weight ||= weightOf(this.record);
    return this.#weight;
  }

  get topicTokens(): readonly string[] {
    this.#tokens ??= this.record.topic.split('.');
    return this.#tokens;
  }

  get position(): Position {
    if (this.#position === undefined) {
      const { sequence, nonce } = this.record;
      this.#position = formatPosition({ epoch: this.#epoch, sequence, nonce });
    }
    return this.#position;
  }

  /** The frame for clients of a run. It is not kept: the clients get many frames joined into one. */
  get runFrame(): string {
    const { sequence, nonce } = this.record;
    return encodeRunRecord(this.record, formatPosition({ epoch: this.#epoch, sequence, nonce }));
  }

  /** The frame for followers without an envelope. */
  get plain(): Chunk {
    this.#plain ??= new Chunk(encodeRecord(this.record, this.position));
    return this.#plain;
  }

  /** The frame with the topic beside the data: see `FollowOptions.envelope`. */
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
    const value = isJson ? (JSON.parse(data) as unknown) : data;
    const event = Object.freeze(type ? { data: value, type } : { data: value });
    const topicEvent = Object.freeze({ topic, position: this.position, event });
    this.#topicEvent = new WeakRef(topicEvent);
    return topicEvent;
  }
}

function weightOf({ topic, type = '', data }: LogRecord): number {
  const names = topic.length + type.length;
  return RECORD_BYTES + names + bytesInMemory(data) + FRAMES * (names + Buffer.byteLength(data));
}
