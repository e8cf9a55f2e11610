import { Observable } from 'rxjs';
import type { Position, TopicEvent, TypedPattern } from '../wire/index.js';
import type { EventStreamResponse } from './event-stream-response.js';

/** The state of the followed topics. A client gets it in place of the events that led to it. */
export interface SnapshotEvent {
  data: unknown;
  type?: string;
  /**
   * The position of the last event that the state includes, if it is not the one that was passed to `snapshot`. Events
   * after it follow.
   */
  at?: Position;
}

/**
 * Where a client without `Last-Event-ID` begins: at `'now'`, at the `'earliest'` event that the log holds, after a
 * position, or with the events of the last `agoMs` milliseconds.
 */
export type FollowFrom = 'now' | 'earliest' | (Position & {}) | { readonly agoMs: number };

/** One pattern or several, such as `orders.42`, `orders.*` and `orders.>`, or what `defineTopic` returns. */
export type Patterns<Events extends object = object> =
  string | TypedPattern<Events> | readonly (string | TypedPattern<Events>)[];

/** A member of a topic, as `follow` is given it. */
export interface PresenceOption {
  /** Names the member: the id of a user. 1 to 256 characters. Connections with one id are one member. */
  id: string;
  /**
   * What the others are told of the member, such as a name: JSON of at most `presence.maxDataBytes`, 1,024 by default.
   * Of several connections with one id, that of the last one counts.
   * @defaultValue none
   */
  data?: unknown;
}

/**
 * Options of `SseConnection.follow`. Its functions run in the async context of the call to `follow`, not of the
 * publisher: an `AsyncLocalStorage` holds the request of the client.
 */
export interface FollowOptions<Event = TopicEvent['event']> {
  /**
   * Where a client without `Last-Event-ID` begins.
   * @defaultValue `'now'`
   */
  from?: FollowFrom;
  /**
   * Returns the state at a position. It is sent to a client without `Last-Event-ID`, and in place of a `reset`, before
   * the events after that position. If the state was read later, it may include events that are sent again: return
   * its own position as `at` to avoid that.
   */
  snapshot?: (at: Position) => SnapshotEvent | Promise<SnapshotEvent>;
  /**
   * Returns whether the client gets an event. It is called for each event, live and replayed. The client gets the event
   * only if it returns `true`: an error counts as false.
   */
  filter?: (event: TopicEvent<Event>) => boolean;
  /** Returns the key of an event. A client that lags gets only the last event of each key once it reads again. */
  latest?: (event: TopicEvent<Event>) => string;
  /**
   * Makes the client a member of the topic, for `SseService.presence` on every instance: from when its stream is open
   * until `presence.graceMs` after it has closed. Wildcards are refused as `options-invalid`; of several topics the
   * client is a member of each.
   *
   * `follow` throws `presence-full` past the bounds of `presence` of the module.
   * @defaultValue the client is no member
   */
  presence?: PresenceOption;
  /**
   * Whether `data` becomes `{"topic": …, "data": …}`, so that a browser that follows `orders.*` knows the topic of each
   * event.
   * @defaultValue false
   */
  envelope?: boolean;
}

/**
 * Topics that a connection follows. They are followed without a subscription, too. The Observable emits nothing, and
 * completes when the connection closes: return it from an `@Sse()` handler, or ignore it.
 */
export class Follow extends Observable<never> {
  readonly #unfollow: () => void;

  /** @internal */
  constructor(response: EventStreamResponse, unfollow: () => void) {
    super((subscriber) => response.whenClosed(() => subscriber.complete()));
    this.#unfollow = unfollow;
  }

  /** Stops following these topics. The connection stays open, and goes on with the others that it follows. */
  unfollow(): void {
    this.#unfollow();
  }
}

/** The topics, as a response sees them. It knows of no log. */
export interface Following {
  follow(response: EventStreamResponse, patterns: Patterns, options: FollowOptions): Follow;
}
