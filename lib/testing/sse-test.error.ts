/** Why a helper of this entry point has failed. The set is closed: a `switch` over it can be exhaustive. */
export type SseTestErrorCode =
  /** The deadline of a wait, or of opening, has passed. */
  | 'timeout'
  /** The stream has ended, so that what was awaited can no longer come. */
  | 'ended'
  /** There was no response: the connection or TLS was refused, or reset before the headers. */
  | 'unreachable'
  /** The `signal` of `openSse()` aborted before the headers of the response arrived. */
  | 'aborted'
  /** The data of an event is no JSON. */
  | 'json-invalid'
  /** An argument or option cannot be used as given. */
  | 'argument-invalid';

/** The error of every rejection of this entry point. Only what a condition of yours throws comes through as it is. */
export class SseTestError extends Error {
  readonly code: SseTestErrorCode;

  constructor(code: SseTestErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'SseTestError';
    this.code = code;
  }
}
