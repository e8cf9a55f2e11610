import type { FollowOptions, SseConnection } from '../connection/index.js';
import type { LogEvent } from '../log/index.js';
import { SseError } from '../sse.errors.js';
import type { Chunk } from '../wire/index.js';
import type { Follower } from './follower.js';
import { matches } from './pattern-trie.js';

/** Some patterns of one follower, with the options that they were followed with. */
export class Subscription {
  readonly follower: Follower;
  readonly options: FollowOptions;
  // As text, which clients share, and not as tokens, which each would keep for itself.
  readonly #patterns: string | readonly string[];

  constructor(follower: Follower, patterns: string | readonly string[], options: FollowOptions) {
    this.follower = follower;
    this.#patterns = patterns;
    this.options = options;
  }

  /** Its patterns, as tokens. Made anew each time: to be asked for once, not once an event. */
  get patterns(): string[][] {
    const patterns = typeof this.#patterns === 'string' ? [this.#patterns] : this.#patterns;
    return patterns.map((pattern) => pattern.split('.'));
  }

  /** A test of topics, as tokens. Made anew each time, as {@link patterns} are. */
  matcher(): (topic: readonly string[]) => boolean {
    const { patterns } = this;
    return (topic) => patterns.some((pattern) => matches(pattern, topic));
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
      return this.options.latest?.(event.topicEvent);
    } catch (error) {
      // Called as sockets drain, in no one's call: it would end the process.
      this.follower.connection.reporter.error(
        `latest() of ${event.record.topic} failed; the event was sent.`,
        error,
      );
      return undefined;
    }
  }

  /** Whether an event that is covered goes to the client. */
  admits(
    event: LogEvent,
    authorize: ((topic: string, connection: SseConnection) => boolean) | undefined,
  ): boolean {
    const { connection } = this.follower;
    const { filter } = this.options;
    if (!authorize && !filter) {
      return true;
    }
    // A check that fails lets nothing through, and fails for no one else.
    try {
      return (
        (!authorize || isAllowed('authorize', authorize(event.record.topic, connection))) &&
        (!filter || isAllowed('filter', filter(event.topicEvent)))
      );
    } catch (error) {
      connection.reporter.error(`A check of ${event.record.topic} failed; the event was withheld.`, error);
      return false;
    }
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
