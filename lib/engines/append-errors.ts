import { SseError } from '../errors/index.js';

/** The failure of a try to append. */
export interface AppendFailure extends Error {
  /** Whether the engine may have carried the try out all the same. */
  readonly mayHaveRun: boolean;
  /** Whether another try may work soon. */
  readonly isTransient: boolean;
  /** What to do about it, beginning with a space; empty if there is nothing to say. */
  readonly hint: string;
}

/** The error for events that the engine refuses. */
export function refused(engine: string, failure: AppendFailure, isOutcomeKnown: boolean): SseError {
  return new SseError('publish-failed', `${engine} refused the event: ${failure.message}.${failure.hint}`, {
    cause: failure,
    isOutcomeKnown,
  });
}

export function leaseLost(isOutcomeKnown: boolean): SseError {
  const what = isOutcomeKnown ? 'nothing was appended' : 'an earlier try may have been carried out';
  return new SseError('lease-lost', `The lease is over: ${what}.`, { isOutcomeKnown });
}

export function expired(isOutcomeKnown: boolean): SseError {
  return new SseError('closed', 'The log is closed: it has expired, or an old copy of it has come back.', {
    isOutcomeKnown,
  });
}

export function closed(isOutcomeKnown: boolean): SseError {
  return new SseError('closed', 'The log is closed: the app is shutting down.', { isOutcomeKnown });
}

/** @param timeoutMs - the time that the event had */
export function timedOut(
  engine: string,
  timeoutMs: number,
  last: AppendFailure | undefined,
  isOutcomeKnown: boolean,
): SseError {
  return new SseError(
    'publish-failed',
    `${engine} did not take the event within ${timeoutMs} ms` +
      `${last ? ` (${last.message})` : ''}: ` +
      `${isOutcomeKnown ? 'it was not published' : 'it may have been published or not'}.${last?.hint ?? ''}`,
    { cause: last, isOutcomeKnown },
  );
}

export function tooMuchPending(engine: string, bytes: number, maxPendingBytes: number): SseError {
  return new SseError(
    'publish-failed',
    `${bytes} bytes of events wait for ${engine} already, and maxPendingBytes is ${maxPendingBytes}: ` +
      `the event was not published. Publish more slowly, or look whether ${engine} answers.`,
    { isOutcomeKnown: true },
  );
}
