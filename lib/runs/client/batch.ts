import type { LogEvent } from '../../log/index.js';
import { Chunk } from '../../wire/index.js';
import { kindOf } from '../record/index.js';

/** The events that a log brings in one turn, for all clients that are attached to a run. */
export class RunBatch {
  readonly events: readonly LogEvent[];
  #chunk: Chunk | undefined;
  /** Whether it holds items alone, so that it is the same for every client. */
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

  /** All frames as one chunk, made once. */
  get chunk(): Chunk {
    this.#chunk ??= chunkOf(this.events);
    return this.#chunk;
  }
}

/**
 * Joins the frames of events to one chunk. A run has many small events and few clients: a Buffer for each event, kept
 * as long as the event is in the ring, would cost more memory than the event itself.
 */
export function chunkOf(events: readonly LogEvent[]): Chunk {
  return new Chunk(events.map(({ runFrame }) => runFrame).join(''));
}
