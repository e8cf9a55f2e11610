import type { CloseReason, ClosingFrames } from '../connection/index.js';
import { MASKED_FAILURE } from '../errors/index.js';
import type { Reporter } from '../errors/index.js';
import { closingFramesOf } from './format.js';
import type { FormatEvents, StreamFailure, StreamFormat } from './format.js';

/** The failure that a client is told if the app closes before its stream has ended. */
export const SHUTDOWN_FAILURE: StreamFailure = Object.freeze({
  reason: 'shutdown',
  message: 'The server is closing. Try again.',
  status: 503,
});

/** Returns the closing frames of a stream that ends before its source, by the reason of its end. */
export function framesOfEnding(format: StreamFormat, reporter: Reporter): ClosingFrames {
  return (reason) => encoded(() => closingEvents(format, failureOf(reason)), reporter);
}

/** Returns the closing frames of a stream that has failed. */
export function framesOfFailure(
  format: StreamFormat,
  reporter: Reporter,
  failure: StreamFailure,
): ClosingFrames {
  return () => encoded(() => format.error(failure), reporter);
}

/** Returns the closing frames for a client that is refused: the app is closing, or too many streams are open. */
export function framesOfRefusal(format: StreamFormat, reporter: Reporter): ClosingFrames {
  return (reason) => {
    const failure: StreamFailure =
      reason === 'shutdown'
        ? SHUTDOWN_FAILURE
        : { reason: 'shed', message: 'Too many event streams are open. Try again later.', status: 503 };
    return encoded(() => format.error(failure), reporter);
  };
}

/** Makes the closing events of a stream that ends before its source. */
export function closingEvents(format: StreamFormat, failure: StreamFailure): FormatEvents {
  return failure.reason === 'aborted' && format.abort ? format.abort() : format.error(failure);
}

function failureOf(reason: CloseReason): StreamFailure {
  switch (reason) {
    case 'shutdown':
      return SHUTDOWN_FAILURE;
    case 'expired':
      return { reason, message: 'The stream has reached its time limit.' };
    case 'revoked':
      return { reason: 'error', message: 'Your access to the stream has ended.', status: 403 };
    case 'server':
      return { reason: 'aborted', message: 'The stream was stopped.' };
    case 'client':
    case 'slow':
    case 'error':
      return { reason: 'error', ...MASKED_FAILURE };
  }
}

/** The app's format may throw. Events of sockets and timers call this: an uncaught error would end the process. */
function encoded(makeEvents: () => FormatEvents, reporter: Reporter): string | undefined {
  try {
    return closingFramesOf(makeEvents()) || undefined;
  } catch (error) {
    reporter.error('The format of a stream failed to tell its end; the response is cut.', error);
    return undefined;
  }
}
