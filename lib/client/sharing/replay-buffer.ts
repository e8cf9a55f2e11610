import { comparePlaces } from '../places.js';
import type { HandedFrame } from './messages.js';

/** How much the leader keeps for tabs that join late. */
export interface ReplayLimits {
  readonly events: number;
  readonly characters: number;
}

/** What came last on the leader's connection, for tabs that lack it. */
export class ReplayBuffer {
  readonly #limits: ReplayLimits;
  /** The place before the first frame. */
  #floor: string | undefined;
  /** The frames with which the stream began, if all frames since are here. */
  #opening: HandedFrame[] | undefined;
  #frames: HandedFrame[] = [];
  #characters = 0;

  constructor(limits: ReplayLimits, floor: string | undefined) {
    this.#limits = limits;
    this.#floor = floor;
    this.#opening = floor === undefined ? [] : undefined;
  }

  /** Drops everything: the stream goes on at another place. */
  restart(floor: string | undefined, opening?: readonly HandedFrame[]): void {
    this.#floor = floor;
    this.#frames = [];
    this.#characters = (opening ?? []).reduce((sum, each) => sum + lengthOf(each), 0);
    this.#opening = opening && [...opening];
    this.#trim();
  }

  /** A tab that begins now would lack a state: what is here is no beginning any more. */
  dropOpening(): void {
    this.#opening?.forEach((each) => (this.#characters -= lengthOf(each)));
    this.#opening = undefined;
  }

  push(handed: HandedFrame): void {
    // A frame without an id has no place in a replay.
    if (handed.frame.id !== undefined) {
      this.#floor ??= handed.frame.id;
      this.#frames.push(handed);
      this.#characters += lengthOf(handed);
      this.#trim();
    }
  }

  /** Everything that a client which begins would have got; undefined if some of it is gone. */
  fromBeginning(): readonly HandedFrame[] | undefined {
    return this.#opening && [...this.#opening, ...this.#frames];
  }

  /** What came after a place; undefined if that is not known. */
  after(place: string): readonly HandedFrame[] | undefined {
    const toFloor = comparePlaces(place, this.#floor);
    if (toFloor === undefined || toFloor < 0 || (toFloor === 0 && place !== this.#floor)) {
      return undefined;
    }
    const rest: HandedFrame[] = [];
    for (const handed of this.#frames) {
      const order = comparePlaces(handed.frame.id, place);
      if (order === undefined || (order === 0 && handed.frame.id !== place)) {
        return undefined;
      }
      if (order > 0) {
        rest.push(handed);
      }
    }
    return rest;
  }

  #trim(): void {
    const { events, characters } = this.#limits;
    const isOver = (): boolean => this.#frames.length > events || this.#characters > characters;
    if (isOver()) {
      this.dropOpening();
    }
    while (this.#frames.length > 0 && isOver()) {
      const handed = this.#frames.shift()!;
      this.#characters -= lengthOf(handed);
      this.#floor = handed.frame.id;
    }
  }
}

function lengthOf({ frame }: HandedFrame): number {
  return frame.data?.length ?? 0;
}
