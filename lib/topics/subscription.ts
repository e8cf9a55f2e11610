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
 * Patterns of one follower, with their options. The app's callbacks run in the async context of the call to `follow`:
 * an AsyncLocalStorage holds the client's own user there. In the context of a publish it would hold the publishing
 * user.
 */
export class Subscription {
  readonly follower: Subscriber;
  readonly options: FollowOptions;
  /** Ends the client's presence; absent if it is no member. */
  readonly endPresence: (() => void) | undefined;
  // As text, which clients share. Tokens would take memory for each client.
  readonly #patterns: string | readonly string[];
  /** Absent if no callback is ever called for this subscription. */
  readonly #context: AsyncResource | undefined;

  constructor(
    follower: Subscriber,
    patterns: string | readonly string[],
    options: FollowOptions,
    authorize?: Authorize,
    endPresence?: () => void,
  ) {
    this.follower = follower;
    this.#patterns = patterns;
    this.options = options;
    this.endPresence = endPresence;
    const { filter, latest, snapshot } = options;
    this.#context = authorize || filter || latest || snapshot ? new AsyncResource('SseFollow') : undefined;
  }

  get patterns(): readonly string[] {
    return typeof this.#patterns === 'string' ? [this.#patterns] : this.#patterns;
  }

  chunkOf(event: LogEvent): Chunk {
    return this.options.envelope ? event.envelope : event.plain;
  }

  /** The same for all subscriptions to which the same frames are offered; undefined if the app filters them. */
  get sharedKey(): string | undefined {
    const { envelope = false, filter } = this.options;
    return filter ? undefined : `topics ${envelope} ${JSON.stringify(this.patterns)}`;
  }

  /** Whether a lagging client gets only the last event of each key. */
  get wantsLatest(): boolean {
    return this.options.latest !== undefined;
  }

  /** Returns the key of an event for `latest`; undefined if the client gets the event in any case. */
  keyOf(event: LogEvent): string | undefined {
    try {
      const { latest } = this.options;
      return latest && this.#run(latest, event.topicEvent);
    } catch (error) {
      // This runs when a socket drains: an uncaught error would crash the process.
      const message = `latest() of ${event.record.topic} failed; the event was sent.`;
      this.follower.reports.error('latest', message, error);
      return undefined;
    }
  }

  /** Returns whether the app's checks let a covered event through to the client. */
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
    // A check that throws withholds the event from this client alone.
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

  /** Asks the app for the state at a position; undefined if the option is not set. */
  get snapshot(): ((at: Position) => SnapshotEvent | Promise<SnapshotEvent>) | undefined {
    const { snapshot } = this.options;
    return snapshot && ((at) => this.#run(snapshot, at));
  }

  #run<Value, Result>(callback: (value: Value) => Result, value: Value): Result {
    return this.#context ? this.#context.runInAsyncScope(callback, undefined, value) : callback(value);
  }
}

/** Returns whether a check allows. Only `true` allows: a check that returns nothing forbids. */
function isAllowed(check: string, verdict: unknown): boolean {
  if (isPromiseLike(verdict)) {
    // Without a handler, a rejection would crash the process. The error below says what is wrong.
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
