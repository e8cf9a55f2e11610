import { coversTopic } from '../wire/topic-cover.js';
import { comparePlaces } from './places.js';

/** The places in the log that the app's states are of. What comes up to them is in a state already. */
export class StatePlaces {
  #places: readonly { readonly at: string; readonly patterns?: readonly string[] }[] = [];

  /** Takes the place of a state of all that is followed, if it is known. Those before it count no more. */
  replace(at?: string): void {
    this.#places = at === undefined ? [] : [{ at }];
  }

  /** Adds the place of a state of some topics alone. */
  add(at: string | undefined, patterns: readonly string[]): void {
    if (at !== undefined) {
      this.#places = [...this.#places, { at, patterns }];
    }
  }

  /** Whether a state holds the event. Events come in their order: a place that one has passed is forgotten. */
  hold(id: string | undefined, topic: string | undefined): boolean {
    if (id === undefined || this.#places.length === 0) {
      return false;
    }
    this.#places = this.#places.filter(({ at }) => isUpTo(at, id));
    return this.#places.some(
      ({ patterns }) => !patterns || (topic !== undefined && isCovered(topic, patterns)),
    );
  }
}

/** Whether an event's id is not after a place: both of one epoch. Of anything else nothing is known. */
export function isUpTo(place: string | undefined, id: string | undefined): boolean {
  return (comparePlaces(id, place) ?? 1) <= 0;
}

function isCovered(topic: string, patterns: readonly string[]): boolean {
  return patterns.some((pattern) => coversTopic(pattern, topic));
}
