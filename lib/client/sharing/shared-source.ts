import { parsePosition } from '../../wire/position.js';
import type { SseClientError } from '../client.error.js';
import type { Frame } from '../frame.parser.js';
import type { ClientSettings } from '../settings.js';
import { StreamLoop } from '../stream-loop.js';
import type { StreamStatus } from '../stream-loop.js';
import { FrameSorter } from './frame-sorter.js';
import type { HandedError, HandedFrame, Welcome } from './messages.js';
import { comparePlaces } from '../places.js';
import { ReplayBuffer } from './replay-buffer.js';
import type { ReplayLimits } from './replay-buffer.js';

/** What a source tells the tab that leads. */
export interface SourceListener {
  onStatus(status: StreamStatus): void;
  onFrames(frames: readonly HandedFrame[]): void;
  onFailure(error: SseClientError): void;
  onWelcome(welcome: Welcome): void;
  /** The server sends no positions: tabs cannot tell what they have. */
  onNoPositions(): void;
}

/** Where a source begins, and what is known of its server. */
export interface SourceStart {
  readonly url: URL;
  readonly place: string | undefined;
  readonly snapshots: number | undefined;
  readonly limits: ReplayLimits;
}

// A server whose first frame has no id may tell the place right after it.
const PLACE_WAIT_MS = 3_000;

/** The connection of all tabs, in the one that leads: hands on what comes, and tells late tabs what they lack. */
export class SharedSource {
  readonly #start: SourceStart;
  readonly #settings: ClientSettings;
  readonly #listener: SourceListener;
  readonly #sorter: FrameSorter;
  readonly #buffer: ReplayBuffer;
  readonly #loop: StreamLoop;
  #place: string | undefined;
  #status: StreamStatus = 'connecting';
  #hasFrames = false;
  #isPlaceless = false;
  #placeTimer: ReturnType<typeof setTimeout> | undefined;
  /** Frames of the turn, and of a state that is not whole. */
  #turn: HandedFrame[] = [];
  #block: HandedFrame[] = [];
  /** Tabs that ask while the place is not known. */
  #asking: { readonly from: string; readonly place: string | undefined }[] = [];

  constructor(settings: ClientSettings, start: SourceStart, listener: SourceListener) {
    this.#settings = settings;
    this.#start = start;
    this.#listener = listener;
    this.#place = start.place;
    this.#sorter = new FrameSorter(settings);
    this.#sorter.snapshots = start.snapshots;
    this.#buffer = new ReplayBuffer(start.limits, start.place);
    this.#loop = new StreamLoop(settings, {
      nextRequest: () => this.#nextRequest(),
      onStatus: (status) => this.#onStatus(status),
      onFrame: (frame) => this.#onFrame(frame),
      onFailure: (error) => listener.onFailure(error),
    });
  }

  /** Resolves when the server has ended the stream for good, with the reason if it is an error. */
  get ended(): Promise<SseClientError | undefined> {
    return this.#loop.ended;
  }

  get snapshots(): number | undefined {
    return this.#sorter.snapshots;
  }

  close(): void {
    clearTimeout(this.#placeTimer);
    this.#turn = [];
    this.#loop.close();
  }

  /** Answers a tab that is at a place, or begins: at once, or as soon as the place is known. */
  welcome(from: string, place: string | undefined): void {
    const isKnown = this.#place === undefined ? !this.#hasFrames : this.#sorter.isWhole;
    if (!isKnown) {
      this.#asking = [...this.#asking.filter((other) => other.from !== from), { from, place }];
      return;
    }
    this.#flush();
    this.#listener.onWelcome({
      kind: 'welcome',
      to: from,
      status: this.#status,
      frames: place === undefined ? this.#framesToBegin() : this.#framesAfter(place),
      snapshots: this.snapshots,
    });
  }

  #framesToBegin(): readonly HandedFrame[] | undefined {
    const place = this.#place;
    if (place === undefined) {
      return [];
    }
    if (this.snapshots !== 0) {
      return this.#buffer.fromBeginning();
    }
    const data = JSON.stringify({ snapshots: 0 });
    const frame: Frame = { type: this.#settings.cursorEvent, data, id: place };
    return [{ frame, previous: undefined, isAnchor: true }];
  }

  #framesAfter(place: string): readonly HandedFrame[] | undefined {
    const isAhead = (comparePlaces(place, this.#place) ?? 0) > 0;
    return isAhead ? [] : this.#buffer.after(place);
  }

  #nextRequest() {
    this.#sorter.restart();
    this.#block = [];
    return { url: this.#start.url, lastEventId: this.#place };
  }

  #onStatus(status: StreamStatus): void {
    if (status !== 'closed') {
      this.#flush();
      this.#status = status;
      this.#listener.onStatus(status);
    }
  }

  #onFrame(frame: Frame): void {
    const previous = this.#place;
    const kind = this.#sorter.sort(frame);
    this.#hasFrames = true;
    if (frame.id !== undefined) {
      this.#place = frame.id || undefined;
    }
    this.#checkPlace(frame);
    const isAnchor = kind === 'begin' || kind === 'state' || kind === 'reset';
    const handed: HandedFrame = { frame, previous, isAnchor };
    if (isAnchor) {
      this.#keepAnchor(handed, kind);
    } else if (kind === 'added') {
      this.#buffer.dropOpening();
    } else {
      this.#buffer.push(handed);
    }
    if (this.#turn.push(handed) === 1) {
      // What comes in one chunk goes to the tabs in one message.
      queueMicrotask(() => this.#flush());
    }
    if (this.#asking.length > 0 && this.#place !== undefined && this.#sorter.isWhole) {
      this.#asking.splice(0).forEach((tab) => this.welcome(tab.from, tab.place));
    }
  }

  #keepAnchor(handed: HandedFrame, kind: 'begin' | 'state' | 'reset'): void {
    this.#block = kind === 'state' ? [...this.#block, handed] : [handed];
    if (kind === 'reset') {
      this.#buffer.restart(this.#place);
    } else if (this.#sorter.isWhole) {
      this.#buffer.restart(this.#place, this.#block);
      this.#block = [];
    }
  }

  /** Finds out that the server sends no positions. */
  #checkPlace({ id, data }: Frame): void {
    if (this.#isPlaceless) {
      return;
    }
    if (id !== undefined && !parsePosition(id)) {
      this.#giveUp();
    } else if (this.#place !== undefined) {
      clearTimeout(this.#placeTimer);
    } else if (data !== undefined && this.#sorter.isWhole) {
      this.#placeTimer ??= setTimeout(() => this.#giveUp(), PLACE_WAIT_MS);
    }
  }

  #giveUp(): void {
    this.#flush();
    this.#isPlaceless = true;
    this.#listener.onNoPositions();
  }

  #flush(): void {
    if (this.#turn.length > 0) {
      this.#listener.onFrames(this.#turn.splice(0));
    }
  }
}

/** An error as other tabs can be told it. */
export function handedError({ code, message, status, url, body }: SseClientError): HandedError {
  return { code, message, status, url, body };
}
