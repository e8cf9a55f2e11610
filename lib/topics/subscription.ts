import { AsyncResource } from 'node:async_hooks';
import type {
  EventStreamResponse,
  FollowOptions,
  ResponseOutput,
  SnapshotEvent,
  SseConnection,
} from '../connection/index.js';
import type { LogEvent } from '../log/index.js';
import { SseError } from '../errors/index.js';
import type { RepeatedReport } from '../errors/index.js';
import type { Chunk, Position } from '../wire/index.js';

/** Collects the writes of one turn. */
export interface WriteTarget {
  take(output: ResponseOutput, chunk: Chunk): void;
}

/** The follower of a subscription, as the subscription and the fan-out see it. */
export interface Subscriber {
  readonly connection: EventStreamResponse;
  /** Limits the reports of the app's own checks, which run for each event. */
  readonly reports: RepeatedReport;
  /** Counts an event that `authorize` withheld from the client. */
  countWithheld(topic: string): void;
  /** Offers an event that a subscription covers. */
  offer(event: LogEvent, subscription: Subscription, target: WriteTarget): void;
  /** Adds a subscription. It gets its snapshot if the connection has begun. */
  add(subscription: Subscription): void;
  /** Removes a subscription. @returns whether it was there */
  remove(subscription: Subscription): boolean;
  /** Ends the stream after an error. The client may come back. */
  onBroken(error: unknown): void;
}

/** The app's `authorize`. */
export type Authorize = (topic: string, connection: SseConnection) => boolean;

/**
 * Some patterns of one follower, with the options that they were followed with. The app's callbacks run in the async
 * context of the code that followed: an AsyncLocalStorage holds the client's own user there. In the context of a
 * publish it would hold the user who published.
 */
export class Subscription {
  readonly follower: Subscriber;
  readonly options: FollowOptions;
  // As text, which clients share, and not as tokens, which each would keep for itself.
  readonly #patterns: string | readonly string[];
  /** Absent if no callback is ever called for this subscription. */
  readonly #context: AsyncResource | undefined;

  constructor(
    follower: Subscriber,
    patterns: string | readonly string[],
    options: FollowOptions,
    authorize?: Authorize,
  ) {
    this.follower = follower;
    this.#patterns = patterns;
    this.options = options;
    const { filter, latest, snapshot } = options;
    this.#context = authorize || filter || latest || snapshot ? new AsyncResource('SseFollow') : undefined;
  }

  get patterns(): readonly string[] {
    return typeof this.#patterns === 'string' ? [this.#patterns] : this.#patterns;
  }

  chunkOf(event: LogEvent): Chunk {
    return this.options.envelope ? event.envelope : event.plain;
  }

  /** Whether a client that lags gets the last event of each key alone. */
  get wantsLatest(): boolean {
    return this.options.latest !== undefined;
  }

  /** Of events with the same key a client that lags gets the last; undefined for one that it gets in any case. */
  keyOf(event: LogEvent): string | undefined {
    try {
      const { latest } = this.options;
      return latest && this.#run(latest, event.topicEvent);
    } catch (error) {
      // Called as sockets drain, in no one's call: it would end the process.
      const message = `latest() of ${event.record.topic} failed; the event was sent.`;
      this.follower.reports.error('latest', message, error);
      return undefined;
    }
  }

  /** Whether an event that is covered goes to the client. */
  admits(event: LogEvent, authorize: Authorize | undefined): boolean {
    if (!authorize && !this.options.filter) {
      return true;
    }
    return this.#context
      ? this.#context.runInAsyncScope(() => this.#passesChecks(event, authorize))
      : this.#passesChecks(event, authorize);
  }

  #passesChecks(event: LogEvent, authorize: Authorize | undefined): boolean {
    const { follower } = this;
    const { topic } = event.record;
    const { filter } = this.options;
    let check = 'authorize';
    // A check that fails lets nothing through, and fails for no one else.
    try {
      if (authorize && !isAllowed('authorize', authorize(topic, follower.connection.forApp))) {
        follower.countWithheld(topic);
        return false;
      }
      check = 'filter';
      return !filter || isAllowed('filter', filter(event.topicEvent));
    } catch (error) {
      follower.reports.error(check, `${check} of ${topic} failed; the event was withheld.`, error);
      return false;
    }
  }

  /** Asks for the state at a position; undefined if there is no such option. */
  get snapshot(): ((at: Position) => SnapshotEvent | Promise<SnapshotEvent>) | undefined {
    const { snapshot } = this.options;
    return snapshot && ((at) => this.#run(snapshot, at));
  }

  #run<Value, Result>(callback: (value: Value) => Result, value: Value): Result {
    return this.#context ? this.#context.runInAsyncScope(callback, undefined, value) : callback(value);
  }
}

/** True alone allows: a check that forgets to return its verdict forbids. */
function isAllowed(check: string, verdict: unknown): boolean {
  if (isPromiseLike(verdict)) {
    // It would end the process where it rejects. What is wrong is said below, however it turns out.
    verdict.then(undefined, () => undefined);
    throw new SseError(
      'misuse',
      `${check} returned a promise, which says nothing yet: it is asked for each event, and answers true or false. ` +
        'Look up what it needs before the client follows, and keep it in connection.data.',
    );
  }
  return verdict === true;
}

function isPromiseLike(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';
}
