import { parsePosition } from '../../wire/position.js';

/**
 * Compares two places of one epoch: below 0 if the first is earlier, 0 if they have one sequence. Undefined if one is
 * missing, is no position, or is of another epoch: then their order is not known.
 */
export function comparePlaces(one: string | undefined, other: string | undefined): number | undefined {
  const first = one === undefined ? undefined : parsePosition(one);
  const second = other === undefined ? undefined : parsePosition(other);
  return first && second && first.epoch === second.epoch ? first.sequence - second.sequence : undefined;
}

/** The earliest of the places that are of the epoch of the first one; undefined if there is none. */
export function earliestPlace(places: readonly (string | undefined)[]): string | undefined {
  return places.reduce(
    (least, place) =>
      least === undefined || (comparePlaces(place, least) ?? 0) < 0 ? (place ?? least) : least,
    undefined,
  );
}
