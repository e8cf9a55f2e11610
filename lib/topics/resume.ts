import type { FollowFrom } from '../connection/index.js';
import type { EventPage, LogTail } from '../log/index.js';
import { NO_NONCE, parsePosition } from '../wire/index.js';
import type { PositionParts } from '../wire/index.js';
import type { ResetReason } from './topic.settings.js';

/** Where a follower begins: after a sequence, or with a reset. */
export type Start =
  | { readonly kind: 'new'; readonly sequence: number }
  /** The client's last event was found, in the ring or in the log below it. */
  | { readonly kind: 'resume'; readonly sequence: number; readonly from: 'ring' | 'log' }
  | { readonly kind: 'reset'; readonly reason: ResetReason };

// A client that changes instance may be ahead of the new one's tail by a network's delay.
const AHEAD_WAIT_MS = 2_000;
const AHEAD_TRIES = 5;
// An engine's reader checks its place in the log every second.
const RESET_WAIT_MS = 5_000;

/**
 * Finds where a client goes on whose last event had this id.
 *
 * @throws the error of the log: then nothing is known, and the client must keep its id
 */
export async function findResume(tail: LogTail, id: string, maxReplayEvents: number): Promise<Start> {
  const position = parsePosition(id);
  if (!position) {
    return { kind: 'reset', reason: 'invalid' };
  }
  for (let reason = lossAt(tail, position); reason !== undefined; reason = lossAt(tail, position)) {
    // A client that comes from another instance may know a new log before this instance does.
    if (tail.isFormerEpoch(position.epoch) || !(await tail.isOutdated(RESET_WAIT_MS))) {
      return { kind: 'reset', reason };
    }
  }
  const { sequence } = position;
  const reason = sequence > tail.last ? await waitForTail(tail, position) : undefined;
  if (reason) {
    return { kind: 'reset', reason };
  }
  const isHeld = tail.holds(position);
  if (isHeld === false) {
    return { kind: 'reset', reason: 'diverged' };
  }
  if (tail.last - sequence > maxReplayEvents) {
    return { kind: 'reset', reason: 'limit' };
  }
  return isHeld ? { kind: 'resume', sequence, from: 'ring' } : findBelowRing(tail, position);
}

/** Returns why a client cannot go on after a position, as far as this process knows. */
function lossAt(tail: LogTail, position: PositionParts): 'epoch' | 'diverged' | undefined {
  if (position.epoch !== tail.epoch) {
    return 'epoch';
  }
  return position.sequence <= tail.last && tail.holds(position) === false ? 'diverged' : undefined;
}

/** Finds where a client without an id begins. */
export async function findFrom(tail: LogTail, from: FollowFrom, maxReplayEvents: number): Promise<Start> {
  if (from === 'now') {
    return { kind: 'new', sequence: tail.last };
  }
  if (typeof from === 'object') {
    const { agoMs } = from;
    return newAt(tail, await after(tail, Date.now() - agoMs), maxReplayEvents);
  }
  return from === 'earliest'
    ? newAt(tail, await earliest(tail), maxReplayEvents)
    : findResume(tail, from, maxReplayEvents);
}

function newAt(tail: LogTail, sequence: number, maxReplayEvents: number): Start {
  return { kind: 'new', sequence: Math.max(sequence, tail.last - maxReplayEvents) };
}

/** Returns why a page does not go on after a sequence below the ring; undefined if it does. */
export function gapBefore(page: EventPage, tail: LogTail, sequence: number): ResetReason | undefined {
  if (page.epoch !== tail.epoch) {
    return 'epoch';
  }
  if (page.events[0]?.record.sequence === sequence + 1) {
    return undefined;
  }
  // Reading again would bring the same page until the tail has received the reset.
  return page.head > sequence ? 'trimmed' : 'regressed';
}

/**
 * Waits until the tail reaches a position ahead of it, as long as the log has that position.
 *
 * @returns why the tail does not reach it; undefined if it does
 */
async function waitForTail(tail: LogTail, position: PositionParts): Promise<ResetReason | undefined> {
  for (let tries = 0; tries < AHEAD_TRIES; tries += 1) {
    if (await tail.reaches(position.sequence, AHEAD_WAIT_MS)) {
      return tail.epoch === position.epoch ? undefined : 'epoch';
    }
    const reason = reasonAgainst(await tail.pageAfter(position.sequence), position);
    if (reason) {
      return reason;
    }
  }
  throw new Error(`The log has event ${position.sequence}, and this process did not get it in time.`);
}

async function findBelowRing(tail: LogTail, position: PositionParts): Promise<Start> {
  const { sequence } = position;
  const reason = reasonAgainst(await tail.pageAfter(sequence), position);
  return reason ? { kind: 'reset', reason } : { kind: 'resume', sequence, from: 'log' };
}

/** Returns why a client cannot go on after a position, according to the page after it. */
function reasonAgainst(page: EventPage, { epoch, sequence, nonce }: PositionParts): ResetReason | undefined {
  if (page.epoch !== epoch) {
    return 'epoch';
  }
  if (page.head < sequence) {
    return 'regressed';
  }
  // The position before the first event has no event. It is valid as long as the log holds the first event.
  const isBeforeAll = sequence === 0 && page.first === 1;
  const held = isBeforeAll ? NO_NONCE : page.anchor?.record.nonce;
  if (held === undefined) {
    return 'trimmed';
  }
  return held === nonce ? undefined : 'diverged';
}

async function earliest(tail: LogTail): Promise<number> {
  return (await tail.firstHeld()) - 1;
}

/** Finds the sequence after which the events are younger than a time. */
async function after(tail: LogTail, time: number): Promise<number> {
  let low = await earliest(tail);
  let high = tail.last;
  // Binary search. The times come from several clocks: they rise nearly always, and then the result is exact.
  while (low < high) {
    const middle = Math.floor((low + high) / 2) + 1;
    const event = tail.ring.at(middle) ?? (await tail.pageAfter(middle)).anchor;
    if (event && event.record.time >= time) {
      high = middle - 1;
    } else {
      low = middle;
    }
  }
  return low;
}
