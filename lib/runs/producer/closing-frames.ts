import { eventsOf } from '../../stream/index.js';
import type { FormatEvents, PublicError, StreamFailure, StreamFormat } from '../../stream/index.js';
import type { RunEndReason } from '../record/index.js';

/** What a run without a format says: its items are events, or data, as they are. */
const PLAIN: StreamFormat = {
  encode: (item) => item as FormatEvents,
  error: ({ message }) => ({ type: 'error', data: message }),
  done: () => undefined,
  abort: () => undefined,
};

/** The words of one run: those of its format, or what a stream without one says. */
export class RunWords {
  readonly #format: StreamFormat;
  readonly #isPlain: boolean;

  constructor(format: StreamFormat | undefined) {
    this.#format = format ?? PLAIN;
    this.#isPlain = format === undefined;
  }

  get headers(): StreamFormat['headers'] {
    return this.#format.headers;
  }

  encode(item: unknown): FormatEvents {
    // A list is data here: only a format says several events at once.
    return this.#isPlain ? ([item] as FormatEvents) : this.#format.encode(item);
  }

  /** The last words, and whether they are too few for a client to know that the answer is not complete. */
  ofEnding(reason: RunEndReason, error: PublicError): { events: FormatEvents; isCut: boolean } {
    if (reason === 'done') {
      return { events: this.#format.done(), isCut: false };
    }
    const failure = failureOf(reason, error);
    if (failure.reason === 'aborted' && this.#format.abort) {
      return { events: this.#format.abort(), isCut: false };
    }
    const events = this.#format.error(failure);
    return { events, isCut: this.#isPlain || eventsOf(events).length === 0 };
  }
}

/** What a client may know of an end; undefined where the answer is complete, or was stopped on purpose. */
export function failureOf(reason: RunEndReason, error: PublicError): StreamFailure {
  switch (reason) {
    case 'timeout':
      return { reason: 'expired', message: 'The answer has reached its time limit.' };
    case 'shutdown':
      return { reason: 'shutdown', message: 'The server is closing. Try again.', status: 503 };
    case 'error':
      return { reason: 'error', ...error };
    case 'done':
    case 'client':
    case 'stop':
    case 'orphan':
      return { reason: 'aborted', message: 'The answer was stopped.' };
  }
}
