import type { FollowFrom } from '../connection/index.js';
import type { EventPage, LogTail } from '../log/index.js';
import { NO_NONCE, parsePosition } from '../wire/index.js';
import type { PositionParts } from '../wire/index.js';
import type { ResetReason } from './topic.settings.js';

/** Where a follower begins: after that sequence. */
export type Start =
  | { readonly kind: 'new'; readonly sequence: number }
  /** Exactly after what the client has seen, which stands in the ring, or in the log below it. */
  | { readonly kind: 'resume'; readonly sequence: number; readonly from: 'ring' | 'log' }
  | { readonly kind: 'reset'; readonly reason: ResetReason };

// A client that changes instance may be ahead of the new one's tail by a network's delay.
const AHEAD_WAIT_MS = 2_000;
const AHEAD_TRIES = 5;
// A reader asks every second whether the log still goes on as it was.
const HEAR_WAIT_MS = 5_000;

/**
 * Finds where to go on for a client that has seen the event with this id.
 *
 * @throws what the log failed with: nothing is known then, and the client must keep its id
 */
export async function findResume(tail: LogTail, id: string, maxReplayEvents: number): Promise<Start> {
  const position = parsePosition(id);
  if (!position) {
    return { kind: 'reset', reason: 'invalid' };
  }
  for (let reason = judge(tail, position); reason !== undefined; reason = judge(tail, position)) {
    // A client that comes from another instance may have heard of a new log before this one has.
    if (tail.isFormerEpoch(position.epoch) || !(await tail.isOutdated(HEAR_WAIT_MS))) {
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

/** Why one cannot go on after a position, as far as this process knows. */
function judge(tail: LogTail, position: PositionParts): 'epoch' | 'diverged' | undefined {
  if (position.epoch !== tail.epoch) {
    return 'epoch';
  }
  return position.sequence <= tail.last && tail.holds(position) === false ? 'diverged' : undefined;
}

/** Finds where to begin for a client that brings no id. */
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

/** Why a page does not go on after a sequence that lies below the ring, where the log has had more. */
export function gapBefore(page: EventPage, tail: LogTail, sequence: number): ResetReason | undefined {
  if (page.epoch !== tail.epoch) {
    return 'epoch';
  }
  if (page.events[0]?.record.sequence === sequence + 1) {
    return undefined;
  }
  // To ask again would bring the same, until the tail hears of it.
  return page.head > sequence ? 'trimmed' : 'regressed';
}

/**
 * Waits until the tail reaches a position that lies ahead of it, for as long as the log has it.
 *
 * @returns why it will not
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

/** Why one cannot go on after a position, as the page after it says. */
function reasonAgainst(page: EventPage, { epoch, sequence, nonce }: PositionParts): ResetReason | undefined {
  if (page.epoch !== epoch) {
    return 'epoch';
  }
  if (page.head < sequence) {
    return 'regressed';
  }
  // The place before the first event is no event: it is there as long as the first one is.
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

/** The sequence after which the events are younger than a time. */
async function after(tail: LogTail, time: number): Promise<number> {
  let low = await earliest(tail);
  let high = tail.last;
  // Times rise nearly always: they are of several clocks. A search by halves is exact where they do.
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
