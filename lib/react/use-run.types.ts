import type {
  RunOptions,
  RunOutcome,
  RunRequest,
  RunTarget,
  SseClientError,
  StreamStatus,
} from '../client/index.js';

/** Where a run is started, attached to, and stopped: as `client.run` takes it. */
export interface UseRunTarget extends Omit<RunTarget, 'id'> {
  /** A run to attach to, such as one that was started before a reload. Another id leaves the run before it. */
  id?: string | null;
}

/** What {@link UseRunResult.start} sends, in place of what `start` of the target says. */
export interface UseRunRequest extends Pick<RunRequest, 'body' | 'headers'> {
  /** The id of the run. @defaultValue a random UUID */
  id?: string;
}

/** Options of {@link useRun}. All functions are those of the latest render. */
export interface UseRunOptions<Item, Data> extends Pick<RunOptions, 'format' | 'giveUpMs' | 'onError'> {
  /** The data before the first item of each run. */
  initialData?: Data | (() => Data);
  /** Makes the data after an item. Must be pure. */
  reduce?: (data: Data, item: Item) => Data;
  /** How many items `items` holds, 0 or more: the newest. @defaultValue 10_000, with `reduce` 0 */
  maxItems?: number;
  /** Takes each item. */
  onItem?: (item: Item) => void;
  /** Takes the outcome, after the last item. Not called of a run that another has replaced, or after unmounting. */
  onEnd?: (outcome: RunOutcome) => void;
}

/** What {@link useRun} returns. Its functions stay the same. */
export interface UseRunResult<Item, Data> {
  /** The id of the run. */
  readonly id: string | undefined;
  /** What `reduce` has made of the items. */
  readonly data: Data;
  /** The items, in order: see `maxItems`. */
  readonly items: readonly Item[];
  /** `idle`: there is no run. `closed`: it has ended, see `outcome`. */
  readonly status: 'idle' | StreamStatus;
  /** Whether more may come. */
  readonly isRunning: boolean;
  /** How the run has ended. */
  readonly outcome: RunOutcome | undefined;
  /** What keeps the answer from getting on, until it does; of a run that has failed, why. */
  readonly error: SseClientError | undefined;
  /**
   * Starts a run, and leaves the one before it, which goes on at the server.
   *
   * @returns its id
   * @throws SseClientError `options-invalid` without `start` in the target, or after the component has unmounted
   */
  readonly start: (request?: UseRunRequest) => string;
  /**
   * Stops the run for all clients; what has come stays.
   *
   * @returns whether the server had it
   * @throws SseClientError as `stop()` of `client.run`
   */
  readonly stop: () => Promise<boolean>;
  /** Leaves the run, which goes on at the server. */
  readonly leave: () => void;
}
