import { callApp } from '../client/settings.js';
import type {
  ClientTopics,
  Feed,
  FeedEvent,
  SseClient,
  SseClientError,
  StateInfo,
  StreamStatus,
} from '../client/index.js';
import type { Frames } from './frames.js';
import { Newest } from './newest.js';
import type { UseFollowOptions, UseFollowResult } from './use-follow.types.js';

type Events = Record<string, unknown>;

/** Options of a hook, whatever its types. */
export type FollowOptions = UseFollowOptions<Events, unknown, unknown>;
/** What a hook returns, without its functions. */
export type FollowSnapshot = Omit<UseFollowResult<Events, unknown>, 'reopen'>;

/** What is followed. */
export interface FollowTarget {
  /** Differs if anything else in here does. */
  readonly id: string;
  readonly url: string;
  readonly topics: ClientTopics<Events>;
  readonly patterns: readonly string[];
}

/** A component that follows. */
export interface FollowMember {
  readonly options: { readonly current: FollowOptions };
  readonly render: () => void;
}

const DEFAULT_MAX_EVENTS = 100;
// A component that suspends may never come back.
const ABANDONED_MS = 30_000;
const FAILED_MS = 1_000;

/** A feed, and the data that its events make, for all components that follow the same. */
export class FollowStore {
  readonly #client: SseClient;
  readonly #frames: Frames;
  readonly #onDispose: () => void;
  readonly #members = new Set<FollowMember>();
  readonly #events = new Newest<FeedEvent<Events>>();
  /** Options of the component that was the last to follow, or is about to. */
  #lastOptions: { readonly current: FollowOptions };
  #target: FollowTarget;
  #feed: Feed<Events> | undefined;
  /** Tells calls of the feed that is open from those of one that was closed. */
  #generation = 0;
  #snapshot: FollowSnapshot;
  #data: unknown;
  #status: StreamStatus = 'connecting';
  #error: SseClientError | undefined;
  #hasBegun = false;
  #isReady = false;
  #releaseTimer: ReturnType<typeof setTimeout> | undefined;
  #whenReady: Promise<void> | undefined;
  #resolveReady: (() => void) | undefined;

  constructor(
    client: SseClient,
    frames: Frames,
    target: FollowTarget,
    options: { readonly current: FollowOptions },
    { initial, onDispose }: { readonly initial: FollowSnapshot; readonly onDispose: () => void },
  ) {
    this.#client = client;
    this.#frames = frames;
    this.#target = target;
    this.#lastOptions = options;
    this.#snapshot = initial;
    this.#data = initial.data;
    this.#onDispose = onDispose;
    this.#open();
    this.#releaseAfter(ABANDONED_MS);
  }

  /** What is rendered: the same object until the next frame in which something has changed. */
  get snapshot(): FollowSnapshot {
    return this.#snapshot;
  }

  /** Whether a state or an event has been rendered. */
  get isReady(): boolean {
    return this.#isReady;
  }

  /** Resolves when there is something to show, which may be an error. */
  get whenReady(): Promise<void> {
    this.#whenReady ??= new Promise((resolve) => {
      this.#resolveReady = resolve;
    });
    return this.#whenReady;
  }

  /** @returns a function that removes the member */
  join(member: FollowMember): () => void {
    clearTimeout(this.#releaseTimer);
    this.#members.add(member);
    return () => {
      this.#members.delete(member);
      this.#lastOptions = member.options;
      if (this.#members.size === 0) {
        // In the same turn another component may take over, or the same one in StrictMode.
        this.#releaseAfter(0);
      }
    };
  }

  /** Follows another URL, or other topics: from the same place if nothing is left out. */
  retarget(target: FollowTarget): void {
    if (target.id === this.#target.id) {
      return;
    }
    const { patterns } = this.#target;
    const added = target.patterns.filter((pattern) => !patterns.includes(pattern));
    const isKept = patterns.every((pattern) => target.patterns.includes(pattern));
    this.#target = target;
    const { merge, state } = this.#options;
    if (!isKept || (added.length > 0 && !merge) || this.#status === 'closed') {
      this.reopen();
      return;
    }
    this.#feed!.use(target.url, {
      added,
      ...(state && added.length > 0 && { state: ({ signal }) => this.#options.state!({ signal, added }) }),
    });
  }

  /** Follows from the beginning; the data stays until a state comes. */
  reopen(): void {
    this.#closeFeed();
    this.#error = undefined;
    this.#status = 'connecting';
    this.#open();
    this.#change();
  }

  get #options(): FollowOptions {
    const [first] = this.#members;
    return (first?.options ?? this.#lastOptions).current;
  }

  get #maxEvents(): number {
    const { maxEvents, reduce } = this.#options;
    return maxEvents ?? (reduce ? 0 : DEFAULT_MAX_EVENTS);
  }

  #open(): void {
    const { envelope, parse, resume, state } = this.#options;
    const generation = this.#generation;
    const whileOpen =
      <Args extends unknown[]>(call: (...args: Args) => void) =>
      (...args: Args): void => {
        if (generation === this.#generation) {
          call(...args);
        }
      };
    this.#feed = this.#client.follow<Events>(this.#target.url, this.#target.topics, {
      ...(envelope !== undefined && { envelope }),
      ...(parse && { parse: (text, type) => (this.#options.parse ?? parse)(text, type) }),
      ...(state && {
        state: ({ signal }) => (this.#options.state ?? state)({ signal, added: undefined }),
      }),
      ...(resume && {
        resume: {
          state: () => this.#data,
          save: (text) => (this.#options.resume ?? resume).save(text),
          load: () => (this.#options.resume ?? resume).load(),
        },
      }),
      onState: whileOpen((given: unknown, info: StateInfo) => this.#onState(given, info)),
      onEvent: whileOpen((event: FeedEvent<Events>) => this.#onEvent(event)),
      onReset: whileOpen((reason: string) => this.#tell(({ onReset }) => onReset?.(reason))),
      onStatus: whileOpen((status: StreamStatus) => this.#onStatus(status)),
      onError: whileOpen((error: SseClientError, info: { readonly willRetry: boolean }) =>
        this.#onError(error, info),
      ),
    });
  }

  #onState(state: unknown, info: StateInfo): void {
    const { merge } = this.#options;
    // What was kept over a reload is the data itself.
    this.#data = merge && info.source !== 'saved' ? merge(this.#data, state, info) : state;
    if (this.#error?.code === 'state-failed') {
      this.#error = undefined;
    }
    this.#hasBegun = true;
    this.#tell(({ onState }) => onState?.(state, info));
    this.#change();
  }

  #onEvent(event: FeedEvent<Events>): void {
    const { reduce } = this.#options;
    if (reduce) {
      callApp(() => {
        this.#data = reduce(this.#data, event);
      });
    }
    this.#events.add(event, this.#maxEvents);
    this.#hasBegun = true;
    this.#tell(({ onEvent }) => onEvent?.(event));
    this.#change();
  }

  #onStatus(status: StreamStatus): void {
    this.#status = status;
    if (status === 'open' && this.#error?.code !== 'state-failed') {
      this.#error = undefined;
    }
    this.#change();
  }

  #onError(error: SseClientError, info: { readonly willRetry: boolean }): void {
    if (error.code !== 'data-invalid' && error.code !== 'storage-failed') {
      this.#error = error;
      this.#change();
    }
    this.#tell(({ onError }) => onError?.(error, info));
    if (!info.willRetry && this.#members.size === 0) {
      // A component that suspends has to render the error. After that, another mount tries again.
      this.#releaseAfter(FAILED_MS);
    }
  }

  #tell(call: (options: FollowOptions) => void): void {
    this.#members.forEach(({ options }) => callApp(() => call(options.current)));
  }

  #change(): void {
    // The first state may be no other than the initial data.
    if (this.#isChanged || this.#isReady !== this.#hasBegun) {
      this.#frames.request(this.#render);
    }
  }

  get #isChanged(): boolean {
    const { data, status, error } = this.#snapshot;
    const isSame = data === this.#data && status === this.#status && error === this.#error;
    return !isSame || !this.#events.isListed;
  }

  readonly #render = (): void => {
    if (this.#isChanged) {
      this.#snapshot = {
        data: this.#data,
        events: this.#events.list(this.#maxEvents),
        status: this.#status,
        error: this.#error,
      };
      this.#members.forEach(({ render }) => render());
    }
    this.#isReady = this.#hasBegun;
    if (this.#isReady || this.#status === 'closed') {
      this.#resolveReady?.();
    }
  };

  #closeFeed(): void {
    this.#generation += 1;
    this.#feed?.close();
  }

  #releaseAfter(ms: number): void {
    clearTimeout(this.#releaseTimer);
    this.#releaseTimer = setTimeout(() => {
      this.#closeFeed();
      this.#frames.forget(this.#render);
      this.#onDispose();
      this.#resolveReady?.();
    }, ms);
  }
}
