import { readControlData } from '../frame.data.js';
import type { Frame } from '../frame.parser.js';
import type { ClientSettings } from '../settings.js';

/**
 * What a frame means to tabs that share a stream.
 *
 * - `begin`: announces the state that follows, or that there is none
 * - `state`: a part of an announced state
 * - `added`: a state of some topics alone, or its announcement
 * - `reset`: events are missing that cannot be replayed
 * - `plain`: anything else
 */
type FrameKind = 'begin' | 'state' | 'added' | 'reset' | 'plain';

/** Tells the frames of one connection apart. */
export class FrameSorter {
  readonly #settings: ClientSettings;
  /** Frames of an announced state that are yet to come, and their kind. */
  #left = 0;
  #kind: FrameKind = 'plain';
  /** How many snapshots the server sends to a client that begins; undefined until it has told. */
  snapshots: number | undefined;

  constructor(settings: ClientSettings) {
    this.#settings = settings;
  }

  /** Whether no part of an announced state is outstanding. */
  get isWhole(): boolean {
    return this.#left === 0;
  }

  /** Forgets a state that a cut has left unfinished. */
  restart(): void {
    this.#left = 0;
  }

  sort({ type, data }: Frame): FrameKind {
    if (data !== undefined && type === this.#settings.cursorEvent) {
      return this.#sortCursor(data);
    }
    if (data !== undefined && type === this.#settings.resetEvent) {
      this.#left = 0;
      return 'reset';
    }
    if (this.#left > 0 && data !== undefined) {
      this.#left -= 1;
      return this.#kind;
    }
    return 'plain';
  }

  #sortCursor(data: string): FrameKind {
    const { snapshots, added } = readControlData(data);
    if (typeof snapshots !== 'number') {
      return 'plain';
    }
    this.#left = snapshots;
    this.#kind = added ? 'added' : 'state';
    if (added) {
      return 'added';
    }
    this.snapshots = snapshots;
    return 'begin';
  }
}
