import { Observable } from 'rxjs';
import type { Position, TopicEvent, TypedPattern } from '../wire/index.js';
import type { EventStreamResponse } from './event-stream-response.js';

/** The state of what is followed, sent to a client in the place of the events that made it. */
export interface SnapshotEvent {
  data: unknown;
  type?: string;
  /**
   * The position whose events the state holds, where the snapshot knows better than the one that it
   * was asked for: events after it follow.
   */
  at?: Position;
}

/**
 * Where a follower begins whose client brings no `Last-Event-ID`: `'now'`, `'earliest'` for all that
 * the log holds, after a position, or with what is not older than some milliseconds.
 */
export type FollowFrom = 'now' | 'earliest' | (Position & {}) | { readonly agoMs: number };

/** One pattern, or several: `orders.42`, `orders.*`, `orders.>`, or what `defineTopic` gives. */
export type Patterns<Events extends object = object> =
  string | TypedPattern<Events> | readonly (string | TypedPattern<Events>)[];

/**
 * Options of `SseConnection.follow`. The functions among them run in the async context of the call to `follow`:
 * an `AsyncLocalStorage` holds the client's own request there, whoever publishes.
 */
export interface FollowOptions<Event = TopicEvent['event']> {
  /**
   * Where to begin, for a client without `Last-Event-ID`.
   * @defaultValue `'now'`
   */
  from?: FollowFrom;
  /**
   * The state at a position. It is sent before the events that follow it: to a client without
   * `Last-Event-ID`, and in the place of a `reset`. State that is read later than `at` may hold
   * events that come again; one that knows better returns its own `at`.
   */
  snapshot?: (at: Position) => SnapshotEvent | Promise<SnapshotEvent>;
  /** Whether the client gets an event. Called for each, live and at replay; one that throws is taken for false, as is anything but true. */
  filter?: (event: TopicEvent<Event>) => boolean;
  /** A client that lags gets the last event of each key alone, once it reads again. */
  latest?: (event: TopicEvent<Event>) => string;
  /**
   * Whether `data` becomes `{"topic": …, "data": …}`, so that a browser that follows `orders.*` can
   * tell which.
   * @defaultValue false
   */
  envelope?: boolean;
}

/**
 * What a connection follows. It runs whether anybody subscribes or not, and completes with the
 * connection: return it from an `@Sse()` handler, or ignore it.
 */
export class Follow extends Observable<never> {
  readonly #unfollow: () => void;

  /** @internal */
  constructor(response: EventStreamResponse, unfollow: () => void) {
    super((subscriber) => response.whenClosed(() => subscriber.complete()));
    this.#unfollow = unfollow;
  }

  /** Ends this following; the connection stays open, and others on it go on. */
  unfollow(): void {
    this.#unfollow();
  }
}

/** What follows topics on behalf of connections: this room knows of no log. */
export interface Following {
  follow(response: EventStreamResponse, patterns: Patterns, options: FollowOptions): Follow;
}
