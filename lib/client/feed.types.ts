import type { TypedPattern } from '../wire/topic-event.js';
import type { SseClientError } from './client.error.js';
import type { StreamStatus } from './stream-loop.js';

/** What comes with the data of an event. */
export interface EventInfo {
  readonly type: string;
  /** The topic, if the feed has `envelope` or follows one topic alone. */
  readonly topic: string | undefined;
  /** The event's id: with our server its position in the log. */
  readonly id: string | undefined;
}

/** An event of the feed; its `data` is known by its `type`. */
export type FeedEvent<Events extends object> = {
  [Type in keyof Events & string]: EventInfo & { readonly type: Type; readonly data: Events[Type] };
}[keyof Events & string];

/** Where a state comes from, and why. */
export interface StateInfo {
  /** `state`: the app's function; `snapshot`: the server; `saved`: what `resume` kept over a reload. */
  readonly source: 'state' | 'snapshot' | 'saved';
  /** The event's type, of a snapshot. */
  readonly type: string | undefined;
  /** True for the state of what {@link UseOptions} has added: what the app has of the rest stands. */
  readonly isAdded: boolean;
}

/**
 * Reads the state of what is followed. Return `{ data, at }` if the place is known: `at` is what `sse.position()` gave
 * before the state was read. The feed then continues with exactly the events after that place. Without a place, events
 * that the state contains already may come once more.
 */
export type ReadState<State> = (options: {
  readonly signal: AbortSignal;
}) => Promise<State | { readonly data: State; readonly at: string }>;

/** Keeps the app's state together with the place in the stream, over a reload of the page. */
export interface Resume<State> {
  /** The app's state as it is now. Called as the page goes. */
  state(): State;
  /**
   * Keeps a text, or removes what is kept: `(text) => text ? sessionStorage.setItem('feed', text) :
   * sessionStorage.removeItem('feed')`.
   */
  save(text: string | undefined): unknown;
  /** Gives what was kept. Asked once. */
  load(): string | null | undefined | Promise<string | null | undefined>;
}

/** Options of `client.follow`. */
export interface ClientFollowOptions<State = unknown, Events extends object = Record<string, unknown>> {
  /** Reads the state, if the server sends no snapshots: at the beginning and after each reset. */
  state?: ReadState<State>;
  /** Takes a state, before the events that follow it. */
  onState?: (state: State, info: StateInfo) => void;
  /** Takes each event, of whatever type, before the listeners of its type; in order with `onState`. */
  onEvent?(event: FeedEvent<Events>): void;
  /** Events are missing that cannot be replayed; the next state holds them. */
  onReset?: (reason: string) => void;
  onStatus?: (status: StreamStatus) => void;
  /** Something failed. With `willRetry` false the feed has ended. */
  onError?: (error: SseClientError, info: { readonly willRetry: boolean }) => void;
  /** Ends the feed. */
  signal?: AbortSignal;
  /** Whether the server follows with `envelope`: data is `{ topic, data }`. @defaultValue false */
  envelope?: boolean;
  /** Makes data of an event's text. @defaultValue `JSON.parse` */
  parse?: (text: string, type: string) => unknown;
  /** Keeps state and place over a reload of the page. */
  resume?: Resume<State>;
}

/** Options of `feed.use`. */
export interface UseOptions<State = unknown> {
  /** Patterns that are new, as the server follows them: its snapshots of these come first. */
  added?: string | TypedPattern<object> | readonly (string | TypedPattern<object>)[];
  /** Reads the state of what is new, if the server sends no snapshots. */
  state?: ReadState<State>;
}
