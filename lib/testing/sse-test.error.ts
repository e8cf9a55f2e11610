/** What went wrong in a test's own use of a stream. The set is closed: a `switch` over it can be exhaustive. */
export type SseTestErrorCode =
  /** The deadline of a wait, or of opening, passed. */
  | 'timeout'
  /** The stream ended, so that what was awaited can no longer come. */
  | 'ended'
  /** There was no answer: connection refused, reset before the headers, TLS refused. */
  | 'unreachable'
  /** The `signal` given to `openSse()` fired before the answer's headers were there. */
  | 'aborted'
  /** An event's data is no JSON. */
  | 'json-invalid'
  /** An argument or option cannot be used as given. */
  | 'argument-invalid';

/** Every rejection of this entry point, except what a condition of yours throws: that comes through as it is. */
export class SseTestError extends Error {
  readonly code: SseTestErrorCode;

  constructor(code: SseTestErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'SseTestError';
    this.code = code;
  }
}
