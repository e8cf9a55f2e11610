import type { CloseReason, LastWords } from '../connection/index.js';
import { lastFramesOf } from './format.js';
import type { FormatEvents, StreamFailure, StreamFormat } from './format.js';
import { MASKED_FAILURE } from '../errors/index.js';
import type { Reporter } from '../errors/index.js';

/** What a format says of a stream that is ended before its source. */
export function wordsOfEnding(format: StreamFormat, reporter: Reporter): LastWords {
  return (reason) => {
    const failure = failureOf(reason);
    const say = () => (failure.reason === 'aborted' && format.abort ? format.abort() : format.error(failure));
    return framesOf(say, reporter);
  };
}

/** What a format says of a stream that has failed. */
export function wordsOfFailure(format: StreamFormat, reporter: Reporter, failure: StreamFailure): LastWords {
  return () => framesOf(() => format.error(failure), reporter);
}

/** What a format says to a client that is not let in: the app is closing, or there are too many. */
export function wordsOfRefusal(format: StreamFormat, reporter: Reporter): LastWords {
  return (reason) => {
    const failure: StreamFailure =
      reason === 'shutdown'
        ? failureOf(reason)
        : { reason: 'shed', message: 'Too many event streams are open. Try again later.', status: 503 };
    return framesOf(() => format.error(failure), reporter);
  };
}

function failureOf(reason: CloseReason): StreamFailure {
  switch (reason) {
    case 'shutdown':
      return { reason, message: 'The server is closing. Try again.', status: 503 };
    case 'expired':
      return { reason, message: 'The stream has reached its time limit.' };
    case 'server':
      return { reason: 'aborted', message: 'The stream was stopped.' };
    case 'client':
    case 'slow':
    case 'error':
      return { reason: 'error', ...MASKED_FAILURE };
  }
}

/** The app's own format may throw, and this is called from events of sockets and timers, where nobody catches. */
function framesOf(say: () => FormatEvents, reporter: Reporter): string | undefined {
  try {
    return lastFramesOf(say()) || undefined;
  } catch (error) {
    reporter.error('The format of a stream failed to tell its end; the response is cut.', error);
    return undefined;
  }
}
