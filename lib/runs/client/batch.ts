import type { LogEvent } from '../../log/index.js';
import { Chunk } from '../../wire/index.js';
import { kindOf } from '../record/index.js';

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
    this.#chunk ??= chunkOf(this.events);
    return this.#chunk;
  }
}

/**
 * The frames of events in one. Tokens are many and small, and a client or two want them: a Buffer for each, kept with
 * the event for as long as the run is at hand, would be most of what a token costs.
 */
export function chunkOf(events: readonly LogEvent[]): Chunk {
  return new Chunk(events.map(({ runFrame }) => runFrame).join(''));
}
