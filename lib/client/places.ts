import { parsePosition } from '../wire/position.js';

/**
 * Compares two places of one epoch: below 0 if the first is earlier, 0 if they have one sequence. Undefined if one is
 * missing, is no position, or is of another epoch: then their order is not known.
 */
export function comparePlaces(one: string | undefined, other: string | undefined): number | undefined {
  const first = parsePosition(one ?? '');
  const second = parsePosition(other ?? '');
  return first && second && first.epoch === second.epoch ? first.sequence - second.sequence : undefined;
}
