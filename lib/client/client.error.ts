/**
 * What went wrong, as a word to branch on; the message says the rest.
 *
 * - `network`: no answer came, or it broke off. It is tried again.
 * - `silent`: nothing came for longer than the server's heartbeat allows. It is tried again.
 * - `status`: the answer has a status other than 200. 408, 425, 429 and 5xx are tried again, a 401 once, others not.
 * - `content-type`: the answer is no event stream, such as the page of a captive portal. The third in a row is final.
 * - `no-body`: `fetch` gives no body that can be read as it comes. Final: give another in the option `fetch`.
 * - `headers-failed`: the app's `headers()` has failed, or has not settled within 30 s. It is tried again.
 * - `too-large`: one event is longer than 16 Mi characters. Final.
 * - `data-invalid`: an event's data cannot be parsed. That event is left out.
 * - `state-failed`: the app's `state()` has failed, or has not settled within 30 s. It is asked again.
 * - `storage-failed`: `save` or `load` of `resume` has failed. The feed begins without what was kept.
 * - `run-failed`: the run has ended with a failure, which its last frame tells, or its status if nothing came before.
 * - `run-lost`: the server has no more of a run whose last frame has not come: the answer is incomplete.
 * - `signed-out`: another tab has called `client.signOut()`. Final.
 * - `options-invalid`: an option, or the body of a run's request, is of a wrong kind.
 */
export type SseClientErrorCode =
  | 'network'
  | 'silent'
  | 'status'
  | 'content-type'
  | 'no-body'
  | 'headers-failed'
  | 'too-large'
  | 'data-invalid'
  | 'state-failed'
  | 'storage-failed'
  | 'run-failed'
  | 'run-lost'
  | 'signed-out'
  | 'options-invalid';

/** What is known of an error beside its message. */
export interface SseClientErrorDetails {
  cause?: unknown;
  status?: number;
  url?: string;
  /** The first 200 characters of the answer. */
  body?: string;
  /** What the answer's `Retry-After` says, in milliseconds. */
  retryAfterMs?: number | undefined;
  /** The reason for which a run has failed, as its last frame tells it, such as `aborted`. */
  reason?: string;
}

/** The one class of error of the client. */
export class SseClientError extends Error {
  override readonly name = 'SseClientError';
  readonly code: SseClientErrorCode;
  // Only declared: a field that the error does not have would be printed as undefined.
  declare readonly status?: number;
  declare readonly url?: string;
  declare readonly body?: string;
  declare readonly retryAfterMs?: number | undefined;
  declare readonly reason?: string;

  constructor(code: SseClientErrorCode, message: string, { cause, ...details }: SseClientErrorDetails = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    Object.assign(this, details);
  }
}

/** The error for something that has thrown: its message ends with the cause. */
export function failure(
  code: SseClientErrorCode,
  what: string,
  cause: unknown,
  details?: SseClientErrorDetails,
): SseClientError {
  return new SseClientError(code, `${what}: ${String(cause)}`, { ...details, cause });
}

/** The error for an option of a wrong kind. */
export function invalidOption(message: string, cause?: unknown): SseClientError {
  return new SseClientError('options-invalid', message, { cause });
}
