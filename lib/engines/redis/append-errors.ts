import { SseError } from '../../errors/index.js';
import type { RedisFailure } from './failure.js';

/** The error for events that Redis refuses. */
export function refused(failure: RedisFailure, isOutcomeKnown: boolean): SseError {
  const hint = failure.reply === 'OOM' ? ' Raise its maxmemory, or lower maxEvents.' : '';
  return new SseError('publish-failed', `Redis refused the event: ${failure.message}.${hint}`, {
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
  timeoutMs: number,
  last: RedisFailure | undefined,
  isOutcomeKnown: boolean,
): SseError {
  return new SseError(
    'publish-failed',
    `Redis did not take the event within ${timeoutMs} ms` +
      `${last ? ` (${last.message})` : ''}: ${isOutcomeKnown ? 'it was not published' : 'it may have been published or not'}.`,
    { cause: last, isOutcomeKnown },
  );
}

export function tooMuchPending(bytes: number, maxPendingBytes: number): SseError {
  return new SseError(
    'publish-failed',
    `${bytes} bytes of events wait for Redis already, and maxPendingBytes is ${maxPendingBytes}: ` +
      'the event was not published. Publish more slowly, or look whether Redis answers.',
    { isOutcomeKnown: true },
  );
}
