import type { SnapshotEvent } from '../connection/index.js';
import type { LogTail } from '../log/index.js';
import { encodeEvent, parsePosition } from '../wire/index.js';
import type { Position } from '../wire/index.js';
import type { Subscription } from './subscription.js';

/** The states that a client gets in place of the events that made them, and the position after which it goes on. */
export interface Snapshots {
  readonly states: readonly SnapshotEvent[];
  readonly position: Position;
}

/** How long to wait until the tail has a position of the log, which may be ahead of it. */
const STATE_AHEAD_MS = 2_000;

/** Returns whether one of the subscriptions has a snapshot. */
export function hasSnapshot(subscriptions: readonly Subscription[]): boolean {
  return subscriptions.some(({ snapshot }) => snapshot !== undefined);
}

/** Asks the app for the states at a position. */
export function takeStates(
  subscriptions: readonly Subscription[],
  at: Position,
): Promise<readonly SnapshotEvent[]> {
  const snapshots = subscriptions.flatMap(({ snapshot }) => snapshot ?? []);
  return Promise.all(snapshots.map(async (snapshot) => snapshot(at)));
}

/** Finds the position after which a client with these states goes on, and waits until the tail has it. */
export async function placeStates(
  states: readonly SnapshotEvent[],
  at: Position,
  tail: LogTail,
): Promise<Snapshots> {
  const position = earliest(states, at);
  // A state that was read from the log itself may be ahead of the tail. If the tail does not come, the client goes on
  // at the tail's position: it gets the events between again.
  const isReached = await tail.reaches(parsePosition(position)!.sequence, STATE_AHEAD_MS);
  return { states, position: isReached ? position : at };
}

/**
 * Returns the earliest position of the states, so that no event is missing from any of them. A state without a
 * position, or with a position of another log, is of `at`.
 */
function earliest(states: readonly SnapshotEvent[], at: Position): Position {
  const { epoch } = parsePosition(at)!;
  const positions = states.map(({ at: own = at }) => (parsePosition(own)?.epoch === epoch ? own : at));
  return positions.reduce((first, position) =>
    parsePosition(position)!.sequence < parsePosition(first)!.sequence ? position : first,
  );
}

/**
 * Encodes the states. The last frame alone has the id: a client that was cut off before it lacks a part of the state.
 */
export function encodeSnapshots(
  { states, position }: Snapshots,
  limits: { readonly maxEventBytes: number },
): string {
  return states
    .map(({ data, type }, index) =>
      encodeEvent({ data, type, ...(index === states.length - 1 ? { id: position } : {}) }, limits),
    )
    .join('');
}
