import type { ClientFollowOptions, FeedEvent, Resume, StateInfo, StreamStatus } from '../client/index.js';
import type { SseClientError } from '../client/index.js';

/**
 * Reads the state of what is followed: as the `state` of `client.follow`.
 *
 * @param context - `added` names the patterns that a change of topics under the same `key` has added: only their state
 * is read then. It is undefined for the state of all.
 */
export type ReadFollowState<State> = (context: {
  readonly signal: AbortSignal;
  readonly added: readonly string[] | undefined;
}) => Promise<State | { readonly data: State; readonly at: string }>;

/**
 * Options of {@link useFollow}. All functions are those of the latest render: a new one reopens nothing. Functions that
 * make data are those of the component that has followed for longest, callbacks are called for each component.
 */
export interface UseFollowOptions<Events extends object, State, Data> extends Pick<
  ClientFollowOptions<State, Events>,
  'onEvent' | 'onState' | 'onReset' | 'onError' | 'envelope' | 'parse'
> {
  /**
   * Names what is followed: components with the same key share one connection and one `data`. With a key of one's own
   * the URL and the topics may change: see {@link useFollow}.
   *
   * @defaultValue the URL and the patterns of the topics
   */
  key?: string;
  /** Reads the state, if the server sends no snapshots. */
  state?: ReadFollowState<State>;
  /** The data before any state has come. */
  initialData?: Data | (() => Data);
  /** Makes the data after an event, as in `useReducer`. Must be pure, and return `data` itself if nothing changes. */
  reduce?: (data: Data, event: FeedEvent<Events>) => Data;
  /**
   * Makes the data after a state. Needed for more than one snapshot, whose `info.type` tells which it is, and for
   * topics that are added under the same `key`.
   *
   * @defaultValue the state itself
   */
  merge?: (data: Data | undefined, state: State, info: StateInfo) => Data;
  /** How many events `events` holds, 0 or more: the newest. @defaultValue 100, with `reduce` 0 */
  maxEvents?: number;
  /**
   * Suspends until there is data, and throws what ends the feed before that. On a server it throws, so that the
   * fallback is rendered. Not with `initialData`.
   *
   * @defaultValue false
   */
  suspense?: boolean;
  /** Keeps data and place over a reload of the page: as in `client.follow`, with `data` as the state. */
  resume?: Pick<Resume<Data>, 'save' | 'load'>;
}

/** What {@link useFollow} returns. */
export interface UseFollowResult<Events extends object, Data> {
  /** The state, with the events that have come since. */
  readonly data: Data;
  /** The newest events, the last one last: see `maxEvents`. */
  readonly events: readonly FeedEvent<Events>[];
  /** `idle`: there is no URL. `closed`: the server has ended the feed, or `error` has. On a server: `connecting`. */
  readonly status: 'idle' | StreamStatus;
  /**
   * Why the feed does not get on, until it does. With the status `closed` it is final. An event that cannot be parsed,
   * and a storage that fails, are reported to `onError` only.
   */
  readonly error: SseClientError | undefined;
  /** Opens a new feed, as after a final error. The data stays until the new state has come. */
  readonly reopen: () => void;
}
