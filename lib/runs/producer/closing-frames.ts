import { closingEvents, eventsOf, SHUTDOWN_FAILURE } from '../../stream/index.js';
import type { FormatEvents, PublicError, StreamFailure, StreamFormat } from '../../stream/index.js';
import type { RunEndReason } from '../record/index.js';

/** The format of a run that has none: its items are events, or data, as they are. A list is data as well. */
export const PLAIN_FORMAT: StreamFormat = {
  encode: (item) => [item] as FormatEvents,
  error: ({ message }) => ({ type: 'error', data: message }),
  done: () => undefined,
  abort: () => undefined,
};

/**
 * Makes the closing events of a run.
 *
 * @returns the events, and whether the response is cut after them: a client could not tell from the events that the
 * answer is incomplete
 */
export function closingEventsOfRun(
  format: StreamFormat,
  reason: RunEndReason,
  error: PublicError,
): { events: FormatEvents; isCut: boolean } {
  if (reason === 'done') {
    return { events: format.done(), isCut: false };
  }
  const failure = failureOf(reason, error);
  const events = closingEvents(format, failure);
  const isTold = failure.reason === 'aborted' && format.abort !== undefined;
  return { events, isCut: !isTold && (format === PLAIN_FORMAT || eventsOf(events).length === 0) };
}

/** Returns what a client may know of the end of a run. */
export function failureOf(reason: RunEndReason, error: PublicError): StreamFailure {
  switch (reason) {
    case 'timeout':
      return { reason: 'expired', message: 'The answer has reached its time limit.' };
    case 'shutdown':
      return SHUTDOWN_FAILURE;
    case 'error':
      return { reason: 'error', ...error };
    case 'done':
    case 'client':
    case 'stop':
    case 'orphan':
      return { reason: 'aborted', message: 'The answer was stopped.' };
  }
}
