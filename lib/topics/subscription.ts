import type { FollowOptions, SseConnection } from '../connection/index.js';
import type { LogEvent } from '../log/index.js';
import type { Chunk } from '../wire/index.js';
import type { Follower } from './follower.js';
import { matches } from './pattern-trie.js';

/** Some patterns of one follower, with the options that they were followed with. */
export class Subscription {
  readonly follower: Follower;
  readonly patterns: readonly (readonly string[])[];
  readonly options: FollowOptions;

  constructor(follower: Follower, patterns: readonly (readonly string[])[], options: FollowOptions) {
    this.follower = follower;
    this.patterns = patterns;
    this.options = options;
  }

  /** The topics that it names, where it has no wildcards. */
  get topics(): string[] | undefined {
    return this.patterns.some((tokens) => tokens.includes('*') || tokens.includes('>'))
      ? undefined
      : this.patterns.map((tokens) => tokens.join('.'));
  }

  covers(topic: readonly string[]): boolean {
    return this.patterns.some((pattern) => matches(pattern, topic));
  }

  chunkOf(event: LogEvent): Chunk {
    return this.options.envelope ? event.envelope : event.plain;
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
        isAllowed(authorize?.(event.record.topic, connection) ?? true) &&
        isAllowed(filter?.(event.topicEvent) ?? true)
      );
    } catch (error) {
      connection.reporter.error(`A check of ${event.record.topic} failed; the event was withheld.`, error);
      return false;
    }
  }
}

/** True alone: what an asynchronous check returns is a promise, and no promise forbids anything. */
function isAllowed(verdict: unknown): boolean {
  return verdict === true;
}
