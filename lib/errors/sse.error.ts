/**
 * What went wrong, as a word to branch on; the message says the rest. The set grows only with a new minor version.
 *
 * - `event-invalid`: an event holds something that `text/event-stream` cannot express, or that no client would
 *   read back as it was sent; `field` says which of its fields. Nothing of it was written.
 * - `event-too-large`: an event is longer than `maxEventBytes`. Nothing of it was written.
 * - `options-invalid`: an option of the module, of a route or of a call is out of its range; `field` says which.
 * - `response-invalid`: what was given cannot carry a stream, or cannot any more: it is no response, or its
 *   headers went out with another content type.
 * - `module-missing`: something needs `SseModule.forRoot()` in the app's imports, and it is not there.
 * - `topic-invalid`: a topic or a pattern is not of the form that topics have. Thrown in a handler, it is answered with
 *   400 by Nest's own filter.
 * - `publish-failed`: the log could not take an event; {@link SseError.isOutcomeKnown} says whether it may have it all
 *   the same.
 * - `log-unavailable`: the log's engine cannot be reached, or does not answer in time.
 * - `lease-lost`: another holder has the lease now. Nothing was appended, unless `isOutcomeKnown` is false: then an
 *   earlier try, whose answer was lost, may have been.
 * - `gap`: not thrown any more. `onGap` of `events()` tells code on the server of events that are missing.
 * - `closed`: the log is closed: the app is shutting down, or it is a named log that has outlived its time. Nothing was
 *   appended, unless `isOutcomeKnown` is false: then it may have been.
 * - `run-too-large`: a run would pass its `maxEvents` or `maxBytes`, or its source is faster than the log.
 * - `run-timeout`: a run, or its next item, has taken longer than `timeoutMs` or `idleMs`.
 * - `run-forbidden`: an instance with version 0.1 of this package has a run of an owner under an id for which none was
 *   given.
 * - `run-refused`: a process makes as many runs as `runs.maxRuns` already.
 * - `run-replaced`: a client comes back to a place in a run that is over, and another run has its id.
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
  | 'misuse';

/**
 * The one class of error that this package throws on its own account. Errors of the application, such as one that a
 * handler's stream raises, pass through as they are.
 */
export class SseError extends Error {
  /** What went wrong, as a word to branch on. */
  readonly code: SseErrorCode;
  /** The field of the event, or the option, that was refused. Absent where the error is about no single one. */
  readonly field?: string;
  /** Of an event that was not published: true where the log has not got it for certain, false where it may have. */
  readonly isOutcomeKnown?: boolean;

  constructor(
    code: SseErrorCode,
    message: string,
    options: { cause?: unknown; field?: string; isOutcomeKnown?: boolean } = {},
  ) {
    // `{ cause: undefined }` would print as an empty cause in every log.
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    if (options.field !== undefined) this.field = options.field;
    if (options.isOutcomeKnown !== undefined) this.isOutcomeKnown = options.isOutcomeKnown;
  }

  /**
   * 400 for a topic or pattern that is none, as it comes from a request mostly: Nest's own filter, Express and Fastify
   * answer with it. Undefined for the rest, which is answered with 500. @internal
   */
  get statusCode(): number | undefined {
    return this.code === 'topic-invalid' ? 400 : undefined;
  }

  /** The same, as the `http-errors` package has it, by which Nest 12 knows such an error. @internal */
  get status(): number | undefined {
    return this.statusCode;
  }

  /** Whether the message is meant for the client. @internal */
  get expose(): boolean | undefined {
    return this.code === 'topic-invalid' ? true : undefined;
  }

  static {
    // On the prototype, as in the built-in errors: the stack's first line is taken before an own property could be set,
    // and would say "Error: …".
    Object.defineProperty(this.prototype, 'name', { value: 'SseError', configurable: true, writable: true });
  }
}
