import { nameAddedTopics } from '../../wire/announcements.js';
import type { SseClientError } from '../client.error.js';
import type { Frame } from '../frame.parser.js';
import type { ClientSettings } from '../settings.js';
import { StreamLoop } from '../stream-loop.js';
import type { StreamHost, StreamStatus } from '../stream-loop.js';
import { FrameSorter } from './frame-sorter.js';
import type { HandedFrame } from './messages.js';
import { comparePlaces } from '../places.js';

/** What a member asks of the link that it belongs to. */
export interface MemberListener {
  /** It is at a place at which the leader may take over. */
  onPlace(): void;
  /** What was handed to it does not follow what it has. */
  onHole(): void;
  /** Its own connection was ended for good. */
  onEnd(error: SseClientError | undefined): void;
}

// How many frames may wait for a feed that does not keep up. Past this it asks for them again, from its place.
const MAX_WAITING = 1_000;

/**
 * A feed among tabs that share: takes what the leader hands on if it follows what the feed has, and connects for
 * itself while the leader cannot tell what it lacks.
 */
export class TabMember {
  readonly #settings: ClientSettings;
  readonly #host: StreamHost;
  readonly #listener: MemberListener;
  readonly #sorter: FrameSorter;
  #own: StreamLoop | undefined;
  #isAttached = false;
  #place: string | undefined;
  #waiting: HandedFrame[] | undefined;
  /** Takes everything, as from a connection of its own. */
  #isAlone = false;

  constructor(settings: ClientSettings, host: StreamHost, listener: MemberListener) {
    this.#settings = settings;
    this.#host = host;
    this.#listener = listener;
    this.#sorter = new FrameSorter(settings);
  }

  /** The place up to which the feed has everything. */
  get place(): string | undefined {
    return this.#place;
  }

  /** Whether the feed gets what the leader hands on. */
  get isAttached(): boolean {
    return this.#isAttached;
  }

  /** Whether it keeps up: its place may decide where the next leader goes on. */
  get keepsUp(): boolean {
    return this.#isAttached && !this.#waiting;
  }

  /** Whether the leader may take over now: no part of a state is outstanding. */
  get canAttach(): boolean {
    return !this.#isAttached && !this.#waiting && (!this.#own || this.#hasWholePlace);
  }

  get snapshots(): number | undefined {
    return this.#sorter.snapshots;
  }

  /** What the feed asks for: the URL without what is new to this feed alone, and whether there is such. */
  request(): { readonly url: URL; readonly isSpecial: boolean } {
    const { url, lastEventId } = this.#host.nextRequest();
    this.#place = lastEventId;
    const plain = new URL(url);
    nameAddedTopics(plain.searchParams, []);
    const isSpecial = String(plain.searchParams) !== String(url.searchParams);
    return { url: isSpecial ? plain : url, isSpecial };
  }

  /** Takes up what the leader says that the feed lacks, and goes on with what it hands on. */
  attach(status: StreamStatus, frames: readonly HandedFrame[]): void {
    if (this.request().isSpecial) {
      this.connect();
      return;
    }
    this.#closeOwn();
    this.#isAttached = true;
    this.#host.onStatus(status);
    if (status === 'open') {
      this.#host.onOpen?.();
    }
    this.receive(frames);
  }

  /** The leader's connection has changed. */
  onStatus(status: StreamStatus): void {
    if (!this.#isAttached) {
      return;
    }
    if (status === 'open' && this.request().isSpecial) {
      this.connect();
      return;
    }
    this.#host.onStatus(status);
    if (status === 'open') {
      this.#host.onOpen?.();
    }
  }

  onFailure(error: SseClientError): void {
    if (this.#isAttached) {
      this.#host.onFailure(error);
    }
  }

  /** Opens a connection of its own, if there is none. */
  connect(): void {
    if (this.#own) {
      return;
    }
    this.#isAttached = false;
    this.#waiting = undefined;
    const loop = new StreamLoop(this.#settings, {
      nextRequest: () => {
        this.#sorter.restart();
        return this.#host.nextRequest();
      },
      onStatus: (status) => status === 'closed' || this.#host.onStatus(status),
      onOpen: () => this.#host.onOpen?.(),
      onFrame: (frame) => this.#onOwnFrame(frame),
      ready: () => this.#host.ready?.(),
      onFailure: (error) => this.#host.onFailure(error),
    });
    this.#own = loop;
    void loop.ended.then((error) => {
      if (this.#own === loop) {
        this.#listener.onEnd(error);
      }
    });
  }

  /** Connects for itself from now on, or stays with the frames of the connection that this tab holds. */
  beAlone(holdsConnection: boolean): void {
    this.#isAlone = true;
    if (!holdsConnection) {
      this.connect();
    }
  }

  /** Asks again at once, if it has a connection of its own. */
  restart(): void {
    this.#own?.restart();
  }

  /** Takes no more of what a leader hands on. */
  detach(): void {
    this.#isAttached = false;
    this.#waiting?.splice(0);
  }

  close(): void {
    this.#isAttached = false;
    this.#waiting = undefined;
    this.#closeOwn();
  }

  /** Takes what the leader hands on, as fast as the feed does. */
  receive(frames: readonly HandedFrame[]): void {
    if (!this.#isAttached) {
      return;
    }
    if (this.#waiting) {
      this.#keep(frames);
      return;
    }
    for (const handed of frames) {
      if (!this.#isAttached || !this.#take(handed)) {
        return;
      }
    }
    this.#pauseIfFull();
  }

  #keep(frames: readonly HandedFrame[]): void {
    this.#waiting!.push(...frames);
    if (this.#waiting!.length > MAX_WAITING) {
      this.detach();
    }
  }

  #pauseIfFull(): void {
    const ready = this.#host.ready?.();
    if (ready) {
      const waiting: HandedFrame[] = [];
      this.#waiting = waiting;
      void ready.then(() => this.#waiting === waiting && this.#goOn(waiting));
    }
  }

  #goOn(waiting: readonly HandedFrame[]): void {
    this.#waiting = undefined;
    if (this.#isAttached) {
      this.receive(waiting);
    } else {
      this.#listener.onHole();
    }
  }

  /** @returns false if it does not follow what the feed has */
  #take(handed: HandedFrame): boolean {
    const verdict = this.#isAlone ? 'new' : this.#judge(handed);
    if (verdict === 'hole') {
      this.detach();
      this.#listener.onHole();
      return false;
    }
    if (verdict === 'new') {
      this.#give(handed.frame);
    }
    return true;
  }

  #judge({ frame: { id }, previous, isAnchor }: HandedFrame): 'new' | 'known' | 'hole' {
    const place = this.#place;
    if (isAnchor) {
      return 'new';
    }
    if (place === undefined) {
      return previous === undefined ? 'new' : 'hole';
    }
    const before = comparePlaces(previous, place);
    if (id === undefined) {
      // What the app sends itself has no place: a tab that lacks something goes without it.
      return before !== undefined && before <= 0 ? 'new' : 'known';
    }
    const order = comparePlaces(id, place);
    if (order !== undefined && order <= 0) {
      return order < 0 || id === place ? 'known' : 'hole';
    }
    const follows = before !== undefined && (before < 0 || previous === place);
    return order !== undefined && follows ? 'new' : 'hole';
  }

  #give(frame: Frame): void {
    this.#sorter.sort(frame);
    if (frame.id !== undefined) {
      this.#place = frame.id || undefined;
    }
    this.#host.onFrame(frame);
  }

  #onOwnFrame(frame: Frame): void {
    this.#give(frame);
    if (!this.#isAlone && this.#hasWholePlace) {
      this.#listener.onPlace();
    }
  }

  get #hasWholePlace(): boolean {
    return this.#place !== undefined && this.#sorter.isWhole;
  }

  #closeOwn(): void {
    const own = this.#own;
    this.#own = undefined;
    own?.close();
  }
}
