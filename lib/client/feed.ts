import { nameAddedTopics } from '../wire/announcements.js';
import type { TypedPattern } from '../wire/topic-event.js';
import { onAbort } from './ask-app.js';
import { invalidOption } from './client.error.js';
import type { SseClientError } from './client.error.js';
import { FeedView } from './feed-view.js';
import type {
  ClientFollowOptions,
  EventInfo,
  FeedEvent,
  ReadState,
  StateInfo,
  UseOptions,
} from './feed.types.js';
import { readControlData, readEventData } from './frame.data.js';
import type { EventData } from './frame.data.js';
import type { Frame } from './frame.parser.js';
import { HeldFrames } from './held-frames.js';
import { Readers } from './readers.js';
import { SavedPlace } from './saved-place.js';
import { callApp, resolveUrl } from './settings.js';
import type { ClientSettings } from './settings.js';
import { isUpTo, StatePlaces } from './state-places.js';
import { readState } from './state.reader.js';
import type { PlacedState } from './state.reader.js';
import type { StreamHost, StreamStatus } from './stream-loop.js';

/** The stream that delivers frames to a feed, as the feed sees it. */
export interface FeedLink {
  readonly ended: Promise<SseClientError | undefined>;
  restart(): void;
  close(): void;
}

/** Makes the link of a feed; a promise if the code for it is loaded first. */
export type Connect = (host: StreamHost) => FeedLink | Promise<FeedLink>;

type Listener = (data: never, info: EventInfo) => void;

/** A feed's observer, as RxJS has it. */
export interface FeedObserver<Event> {
  next?(event: Event): void;
  error?(error: unknown): void;
  complete?(): void;
}

/** Patterns that {@link Feed.use} has added, and how their state is read if the server sends none. */
interface Addition<State> {
  readonly patterns: readonly string[];
  readonly state: ReadState<State> | undefined;
}

/** Snapshots that are announced, as far as they have come. */
interface Snapshots {
  readonly count: number;
  readonly isAdded: boolean;
  readonly frames: Frame[];
}

const OBSERVABLE = '@@observable';
// A server of another make tells no place: then the state is read without one.
const PLACE_WAIT_MS = 3_000;

/**
 * The events of the topics behind a URL: in order, each once, over any number of connections; with the state before
 * them, if the app or the server gives one. A `for await` gets what comes from then on, and so does each further one.
 */
export class Feed<Events extends object = Record<string, unknown>, State = unknown> implements AsyncIterable<
  FeedEvent<Events>
> {
  readonly #settings: ClientSettings;
  readonly #options: ClientFollowOptions<State, Events>;
  readonly #listeners = new Map<string, Set<Listener>>();
  readonly #readers = new Readers<FeedEvent<Events>>();
  readonly #saved: SavedPlace<State> | undefined;
  /** The topic of every event, if there is one alone. */
  #topic: string | undefined;
  #link: FeedLink | undefined;
  #status: StreamStatus = 'connecting';
  #url: URL;
  /** The id that came last: the stream goes on after it. */
  #place: string | undefined;
  /** The place of the last event that the app has been given, and of the state before it. */
  #deliveredPlace: string | undefined;
  /** Whether the open request named a place. */
  #hasNamedPlace = false;
  /** The app has its state, or needs none. */
  #hasState: boolean;
  /** A state that was read before the place was known has to be read again. */
  #isBlind = false;
  #blindTimer: ReturnType<typeof setTimeout> | undefined;
  #cancelState: (() => void) | undefined;
  readonly #held = new HeldFrames();
  /** Snapshots that are announced and have not all come. */
  #snapshots: Snapshots | undefined;
  readonly #statePlaces = new StatePlaces();
  /** What {@link use} has added and has no state yet. */
  #added: readonly Addition<State>[] = [];
  #hasEnded = false;
  /** Undefined while the signal has aborted before all else. */
  readonly #forgetSignal: (() => void) | undefined;
  readonly #report = (error: SseClientError, willRetry = true): void => {
    callApp(() => this.#options.onError?.(error, { willRetry }));
  };

  /** @internal */
  constructor(
    settings: ClientSettings,
    url: string,
    topics: readonly TypedPattern<Events>[],
    options: ClientFollowOptions<State, Events>,
    connect: Connect,
  ) {
    this.#settings = settings;
    this.#options = options;
    const [{ pattern } = { pattern: '*' }] = topics;
    this.#topic = topics.length > 1 || /[*>]/.test(pattern) ? undefined : pattern;
    this.#url = resolveUrl(url, settings);
    this.#hasState = !options.state;
    this.#saved = options.resume && new SavedPlace(options.resume, settings.identity, this.#report);
    const { observable } = Symbol as unknown as { observable?: symbol };
    if (observable) {
      Object.defineProperty(this, observable, { value: () => this });
    }
    void this.#begin(connect);
    this.#forgetSignal = onAbort(options.signal, () => this.close());
  }

  /** How the feed stands. */
  get status(): StreamStatus {
    return this.#status;
  }

  /**
   * Calls for each event of a type; one without a type is a `message`.
   *
   * @returns a function that removes the listener
   */
  on<Type extends keyof Events & string>(
    type: Type,
    listener: (data: Events[Type], info: EventInfo) => void,
  ): () => void {
    const listeners = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, listeners);
    // A function of its own: the same listener may be given twice.
    const call: Listener = (data, info) => listener(data, info);
    listeners.add(call);
    return () => void listeners.delete(call);
  }

  /**
   * Follows another URL from the same place: topics that stay lose and double nothing. What is new comes with its
   * state first. After a reset the `state` of `follow` is asked, for all that is followed by then.
   */
  use(url: string, { added = [], state }: UseOptions<State> = {}): void {
    const patterns = [added].flat().map(patternOf);
    this.#url = resolveUrl(url, this.#settings);
    this.#added = [...this.#added, { patterns, state }];
    if (patterns.length > 0) {
      this.#topic = undefined;
    }
    // A state that is being read is of less: it is read again.
    this.#stopReading();
    this.#link?.restart();
  }

  /** The events of the topics that a pattern covers, of a feed with `envelope`. */
  only<Own extends object = Events>(pattern: string | TypedPattern<Own>): FeedView<Own> {
    if (!this.#options.envelope) {
      throw invalidOption('only() needs the option `envelope`, here and at the server.');
    }
    return new FeedView<Own>(this as unknown as Feed<Own>, patternOf(pattern));
  }

  /** Ends the feed: nothing comes after it. */
  close(): void {
    this.#end(undefined, true);
  }

  [Symbol.asyncIterator](): AsyncGenerator<FeedEvent<Events>, void> {
    return this.#readers.read();
  }

  /** For RxJS and its like: `from(feed)`. */
  [OBSERVABLE](): this {
    return this;
  }

  /** Subscribes as an Observable does. To unsubscribe closes the feed. */
  subscribe(observer: FeedObserver<FeedEvent<Events>>): { unsubscribe(): void } {
    const pump = async (): Promise<void> => {
      try {
        for await (const event of this) {
          observer.next?.(event);
        }
        observer.complete?.();
      } catch (error) {
        observer.error?.(error);
      }
    };
    void pump();
    return { unsubscribe: () => this.close() };
  }

  async #begin(connect: Connect): Promise<void> {
    await this.#restore();
    if (this.#hasEnded) {
      return;
    }
    const link = await connect({
      nextRequest: () => this.#nextRequest(),
      onStatus: (status) => status === 'closed' || this.#setStatus(status),
      onOpen: () => this.#onOpen(),
      onFrame: (frame) => this.#onFrame(frame),
      ready: () => this.#held.ready() ?? this.#readers.ready(),
      onFailure: this.#report,
      onLeave: () => this.#save(),
      onComeBack: () => void this.#saved?.clear(),
    });
    if (this.#hasEnded) {
      link.close();
      return;
    }
    this.#link = link;
    this.#end(await link.ended);
  }

  /** Takes up what the page before a reload has kept. */
  async #restore(): Promise<void> {
    const saved = await this.#saved?.take(this.#url.href);
    if (saved && !this.#hasEnded) {
      this.#place = this.#deliveredPlace = saved.place;
      this.#giveState(saved.state, 'saved');
      this.#hasState = true;
    }
  }

  #save(): void {
    const hasState = this.#hasState && !this.#cancelState && this.#added.length === 0;
    // The app's state lacks what a loop has not read.
    if (this.#deliveredPlace !== undefined && hasState && this.#readers.isEmpty) {
      void this.#saved?.save(this.#url.href, this.#deliveredPlace);
    }
  }

  #nextRequest() {
    this.#snapshots = undefined;
    this.#hasNamedPlace = this.#place !== undefined;
    const url = new URL(this.#url);
    const patterns = this.#added.flatMap((addition) => addition.patterns);
    if (patterns.length > 0 && this.#hasNamedPlace) {
      nameAddedTopics(url.searchParams, patterns);
    }
    return { url, lastEventId: this.#place };
  }

  #onOpen(): void {
    if (!this.#needsState) {
      return;
    }
    if (this.#hasNamedPlace) {
      this.#readNeeded();
    } else {
      clearTimeout(this.#blindTimer);
      this.#blindTimer = setTimeout(() => this.#readBlind(), PLACE_WAIT_MS);
    }
  }

  /** Whether the app lacks a state that nothing reads. */
  get #needsState(): boolean {
    return !this.#cancelState && (!this.#hasState || this.#added.some(({ state }) => state));
  }

  #onFrame(frame: Frame): void {
    if (frame.id !== undefined) {
      this.#place = frame.id || undefined;
    }
    if (frame.data === undefined) {
      return;
    }
    if (frame.type === this.#settings.cursorEvent) {
      this.#onCursor(frame.data);
    } else if (frame.type === this.#settings.resetEvent) {
      this.#onReset(readControlData(frame.data).reason ?? 'unknown');
    } else if (this.#snapshots) {
      this.#onSnapshot(frame, this.#snapshots);
    } else {
      // A server that sends the state of what is new sends it before any event.
      this.#added = this.#added.filter(({ state }) => state);
      this.#onEvent(frame);
    }
  }

  #onCursor(data: string): void {
    const { snapshots, added } = readControlData(data);
    if (snapshots) {
      this.#snapshots = { count: snapshots, isAdded: added === true, frames: [] };
      // The server's own: what the app is asked for, and what waits for that, is older.
      this.#stopReading();
      if (!added) {
        this.#held.take();
      }
      return;
    }
    if (snapshots === 0 && this.#hasNamedPlace) {
      // As behind a service worker that drops the header.
      this.#onReset('place-lost');
    } else if (this.#isBlind) {
      this.#readAll();
    } else if (this.#needsState) {
      this.#readNeeded();
    } else if (!this.#cancelState) {
      this.#deliveredPlace = this.#place;
    }
  }

  #onReset(reason: string): void {
    callApp(() => this.#options.onReset?.(reason));
    this.#statePlaces.replace();
    if (this.#options.state) {
      this.#readAll();
    } else {
      this.#deliveredPlace = this.#place;
    }
  }

  #onSnapshot(frame: Frame, { count, isAdded, frames }: Snapshots): void {
    frames.push(frame);
    if (frames.length < count) {
      return;
    }
    this.#snapshots = undefined;
    this.#added = [];
    if (!isAdded) {
      this.#hasState = true;
      this.#statePlaces.replace();
      this.#deliveredPlace = this.#place;
    }
    for (const each of frames) {
      const parsed = this.#parse(each);
      if (parsed) {
        this.#giveState(parsed.data as State, 'snapshot', isAdded, each.type);
      }
    }
    this.#release();
  }

  #onEvent(frame: Frame): void {
    if (this.#hasEnded) {
      return;
    }
    if (this.#needsState) {
      this.#readBlind();
    }
    if (this.#cancelState) {
      this.#held.push(frame);
    } else {
      this.#deliver(frame);
    }
  }

  /** Hands over what has waited for a state. */
  #release(): void {
    this.#held.take().forEach((frame) => this.#onEvent(frame));
  }

  /** Reads a state although the place is not known: the server has not told it. */
  #readBlind(): void {
    this.#readNeeded();
    this.#isBlind = !this.#hasState && this.#place === undefined;
  }

  #readNeeded(): void {
    if (this.#hasState) {
      this.#readAdded();
    } else {
      this.#readAll();
    }
  }

  #readAll(): void {
    this.#isBlind = false;
    this.#hasState = false;
    this.#held.take();
    const place = this.#place;
    this.#read(this.#options.state!, ({ data, at }) => {
      this.#hasState = true;
      this.#added = [];
      this.#statePlaces.replace(at);
      this.#deliveredPlace = isUpTo(at, place) ? at : place;
      this.#giveState(data, 'state');
    });
  }

  #readAdded(): void {
    const next = this.#added.find(({ state }) => state)!;
    this.#read(next.state!, ({ data, at }) => {
      this.#added = this.#added.filter((addition) => addition !== next);
      this.#statePlaces.add(at, next.patterns);
      this.#giveState(data, 'state', true);
    });
  }

  #read(state: ReadState<State>, take: (state: PlacedState<State>) => void): void {
    this.#stopReading();
    this.#cancelState = readState(
      state,
      this.#settings,
      (placed) => {
        this.#cancelState = undefined;
        take(placed);
        if (this.#needsState) {
          this.#readNeeded();
        } else {
          this.#release();
        }
      },
      this.#report,
    );
  }

  #stopReading(): void {
    clearTimeout(this.#blindTimer);
    this.#cancelState?.();
    this.#cancelState = undefined;
  }

  #deliver(frame: Frame): void {
    const { id } = frame;
    this.#deliveredPlace = id ?? this.#deliveredPlace;
    const parsed = this.#parse(frame);
    const topic = parsed?.topic ?? this.#topic;
    if (!parsed || this.#statePlaces.hold(id, topic)) {
      return;
    }
    const { data } = parsed;
    const info: EventInfo = { type: frame.type, topic, id };
    const event = { ...info, data } as FeedEvent<Events>;
    callApp(() => this.#options.onEvent?.(event));
    for (const listener of this.#listeners.get(frame.type) ?? []) {
      callApp(() => listener(data as never, info));
    }
    this.#readers.push(event);
  }

  #parse(frame: Frame): EventData | undefined {
    try {
      return readEventData(frame, this.#options);
    } catch (error) {
      this.#report(error as SseClientError);
      return undefined;
    }
  }

  #giveState(state: State, source: StateInfo['source'], isAdded = false, type?: string): void {
    callApp(() => this.#options.onState?.(state, { source, type, isAdded }));
  }

  #setStatus(status: StreamStatus): void {
    if (status !== this.#status) {
      this.#status = status;
      callApp(() => this.#options.onStatus?.(status));
    }
  }

  #end(error: SseClientError | undefined, isLeft = false): void {
    this.#stopReading();
    this.#held.take();
    this.#link?.close();
    if (this.#hasEnded) {
      return;
    }
    this.#hasEnded = true;
    this.#forgetSignal?.();
    this.#setStatus('closed');
    if (error) {
      this.#report(error, false);
    }
    this.#readers.end(error, isLeft);
  }
}

function patternOf(pattern: string | TypedPattern<object>): string {
  return typeof pattern === 'object' ? pattern.pattern : pattern;
}
