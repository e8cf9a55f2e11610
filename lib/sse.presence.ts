import type { Observable } from 'rxjs';
import type { Presence, SsePresenceChange, SsePresenceList } from './topics/index.js';
import type { UnwatchedCalls } from './sse.unwatched-calls.js';

/**
 * The members of one topic, on all instances: clients that follow it with the option `presence`. See
 * `SseService.presence`.
 */
export class SsePresence {
  /** The name of the topic. */
  readonly topic: string;
  readonly #presence: Presence;
  readonly #calls: UnwatchedCalls;

  /** @internal */
  constructor(topic: string, presence: Presence, calls: UnwatchedCalls) {
    this.topic = topic;
    this.#presence = presence;
    this.#calls = calls;
  }

  /**
   * Returns the members, those that joined first first. While the log is away it is those that this instance knew last,
   * and `isCurrent` is false.
   *
   * @throws SseError `log-unavailable` if this instance has never reached the log of presence; `closed`
   */
  list(): Promise<SsePresenceList> {
    return this.#calls.watch('presence().list()', () => this.#presence.list(this.topic));
  }

  /**
   * Returns the number of members. It costs the same however many there are.
   *
   * @throws SseError as {@link list}
   */
  count(): Promise<number> {
    return this.#calls.watch('presence().count()', () => this.#presence.count(this.topic));
  }

  /**
   * Emits changes. The first has all members as `joined`, once they are known; then what has changed within 100 ms is
   * told together. A member that reconnects within `presence.graceMs` is no change. When the log is away, and when it
   * is back, a change with another `isCurrent` says so. Completes when the app closes. It never fails, and keeps
   * nothing for a subscriber that is slow.
   *
   * @example
   * ```ts
   * @Sse('rooms/:room/people')
   * people(@Param('room') room: string) {
   *   return this.sse.presence(topic`rooms.${room}`).changes().pipe(map(({ count }) => ({ data: { count } })));
   * }
   * ```
   */
  changes(): Observable<SsePresenceChange> {
    return this.#presence.changes(this.topic);
  }
}
