import { SseError } from '../errors/index.js';
import { Durations, SHORT_MS } from '../time/index.js';

/**
 * What became of a publish.
 *
 * - `published`: the log has the event.
 * - `refused`: the topic or the event is invalid, or too large, or the app is closing. The log was not asked.
 * - `failed`: the log does not have the event.
 * - `unknown`: the log has not answered in time, and may have the event.
 */
export type PublishOutcome = 'published' | 'refused' | 'failed' | 'unknown';

/** Counts of the events that were published by this process. */
export class PublishCounts {
  readonly outcomes: Record<PublishOutcome, number> = { published: 0, refused: 0, failed: 0, unknown: 0 };
  /** How long the log took to answer, whatever the outcome. */
  readonly durations = new Durations(SHORT_MS);
  /** The newest event that the log has acknowledged: the epoch of the log, and its sequence. */
  #epoch = '';
  #sequence = 0;

  /** Counts an append to the log, and how long it takes. It settles as the append does. */
  async count<
    A extends { readonly epoch: string; readonly records: readonly { readonly sequence: number }[] },
  >(append: Promise<A>): Promise<A> {
    const startedAt = performance.now();
    try {
      const appended = await append;
      this.outcomes.published += 1;
      this.#acknowledge(appended.epoch, appended.records[0]!.sequence);
      return appended;
    } catch (error) {
      this.outcomes[error instanceof SseError && error.isOutcomeKnown === true ? 'failed' : 'unknown'] += 1;
      throw error;
    } finally {
      this.durations.add(performance.now() - startedAt);
    }
  }

  /** Returns how many events the log has acknowledged here that come after a place in it. */
  unreadAfter(epoch: string, sequence: number): number {
    return epoch === this.#epoch ? Math.max(0, this.#sequence - sequence) : 0;
  }

  #acknowledge(epoch: string, sequence: number): void {
    // Acknowledgements of one log may come in another order than its events.
    this.#sequence = epoch === this.#epoch ? Math.max(this.#sequence, sequence) : sequence;
    this.#epoch = epoch;
  }
}
