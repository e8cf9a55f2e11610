import type { LogEvent } from '../log/index.js';
import { Chunk } from '../wire/index.js';
import { kindOf } from './run.records.js';

/** What a turn of the log has brought for everyone who is attached to a run. */
export class RunBatch {
  readonly events: readonly LogEvent[];
  #chunk: Chunk | undefined;
  /** Whether it holds items and nothing else, so that it is the same to everyone. */
  readonly isPlain: boolean;

  constructor(events: readonly LogEvent[]) {
    this.events = events;
    this.isPlain = events.every((event) => kindOf(event) === 'item');
  }

  get first(): number {
    return this.events[0]!.record.sequence;
  }

  get last(): number {
    return this.events.at(-1)!.record.sequence;
  }

  /** All frames in one, made once. */
  get chunk(): Chunk {
    this.#chunk ??= Chunk.join(this.events.map(({ plain }) => plain));
    return this.#chunk;
  }
}
