/**
 * The code of an error, to branch on. The message says the rest. Only a minor version adds a code.
 *
 * - `event-invalid`: `text/event-stream` cannot express the event, or a client would read another one. `field` names
 *   the field. Nothing was written.
 * - `event-too-large`: the event is longer than `maxEventBytes`. Nothing was written.
 * - `options-invalid`: an option of the module, of a route or of a call is out of its range. `field` names it.
 * - `response-invalid`: the value is no response, or its headers were sent with another content type.
 * - `module-missing`: `SseModule.forRoot()` is missing in the app's imports.
 * - `topic-invalid`: a topic or a pattern is malformed. Thrown in a handler it is answered with 400, and not logged.
 * - `publish-failed`: the log did not confirm an event. {@link SseError.isOutcomeKnown} is false if the log may have it
 *   all the same.
 * - `log-unavailable`: the log's engine cannot be reached, or does not answer in time.
 * - `lease-lost`: another holder has the lease. Nothing was appended, unless `isOutcomeKnown` is false: then an earlier
 *   attempt may have been stored, and its answer was lost.
 * - `gap`: never thrown; the code stays for apps that compare with it. `onGap` of `events()` tells of missing events.
 * - `closed`: the app is shutting down, or a named log has expired. Nothing was appended, unless `isOutcomeKnown` is
 *   false: then it may have been.
 * - `run-too-large`: a run would pass its `maxEvents` or `maxBytes`, or its source is faster than the log.
 * - `run-timeout`: a run, or its next item, has taken longer than `timeoutMs` or `idleMs`.
 * - `run-forbidden`: no owner was given, and an instance with version 0.1 of this package has an owner's run with that
 *   id.
 * - `run-refused`: the process has `runs.maxRuns` runs already, or the owner has reached `limits.runsPerKey`,
 *   `limits.runsPerKeyPerMinute` or `limits.replayEventsPerKeyPerMinute`. `field` names the option, and `retryAfterMs`
 *   says when to try again.
 * - `run-replaced`: a client comes back to a position in a run that has ended, and another run has its id.
 * - `revocations-full`: 100,000 keys are revoked already.
 * - `presence-full`: a topic, or this process, has as many members as `presence` of the module allows. `field` names the
 *   option.
 * - `misuse`: a call or a decorator stands where it cannot work. The message says what to use there.
 */
export type SseErrorCode =
  | 'event-invalid'
  | 'event-too-large'
  | 'options-invalid'
  | 'response-invalid'
  | 'module-missing'
  | 'topic-invalid'
  | 'publish-failed'
  | 'log-unavailable'
  | 'lease-lost'
  | 'gap'
  | 'closed'
  | 'run-too-large'
  | 'run-timeout'
  | 'run-forbidden'
  | 'run-refused'
  | 'run-replaced'
  | 'revocations-full'
  | 'presence-full'
  | 'misuse';

/**
 * The class of all errors that this package throws. Errors of the app, such as those of a handler's stream, pass
 * through unchanged.
 */
export class SseError extends Error {
  /** The code, to branch on. */
  readonly code: SseErrorCode;
  /** The refused field of an event, or the refused option. Absent if there are several, or none. */
  readonly field?: string;
  /** For an event that was not published: true if the log certainly lacks it, false if the log may have it. */
  readonly isOutcomeKnown?: boolean;

  /** For a call that was refused by a limit: milliseconds after which it may succeed. */
  readonly retryAfterMs?: number;

  constructor(
    code: SseErrorCode,
    message: string,
    options: { cause?: unknown; field?: string; isOutcomeKnown?: boolean; retryAfterMs?: number } = {},
  ) {
    // `{ cause: undefined }` would print an empty cause in each log.
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    if (options.field !== undefined) {
      this.field = options.field;
    }
    if (options.isOutcomeKnown !== undefined) {
      this.isOutcomeKnown = options.isOutcomeKnown;
    }
    if (options.retryAfterMs !== undefined) {
      this.retryAfterMs = options.retryAfterMs;
    }
  }

  /**
   * 400 for a malformed topic or pattern, which mostly comes from a request. Nest's filter, Express and Fastify answer
   * with it. Undefined for other errors, which are answered with 500. @internal
   */
  get statusCode(): number | undefined {
    return this.code === 'topic-invalid' ? 400 : undefined;
  }

  /** `statusCode` under the other name that `http-errors` gives it. Nest 12 recognizes the error by it. @internal */
  get status(): number | undefined {
    return this.statusCode;
  }

  /** Whether the message is meant for the client. @internal */
  get expose(): boolean | undefined {
    return this.code === 'topic-invalid' ? true : undefined;
  }

  static {
    // On the prototype, as in built-in errors. The stack's first line is made before an own property could be set, and
    // would begin with "Error: …".
    Object.defineProperty(this.prototype, 'name', { value: 'SseError', configurable: true, writable: true });
  }
}
