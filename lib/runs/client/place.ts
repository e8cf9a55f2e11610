import { LogEvent } from '../../log/index.js';
import type { EventLogStore, LogPage, LogTail } from '../../log/index.js';
import { show, SseError } from '../../errors/index.js';
import { parsePosition } from '../../wire/index.js';
import type { PositionParts } from '../../wire/index.js';
import { pause } from '../../time/index.js';
import { isOf, knownRun, outcomeOf, readOutcome } from '../record/index.js';
import type { KnownRun, RunBegin } from '../record/index.js';

/** A run, and the place in it where a client begins. */
export interface RunPlace {
  readonly run: KnownRun;
  readonly cursor: number;
  /** The events after the place that were read together with the run. */
  readonly ahead: readonly LogEvent[];
  /** The place of the last event that was read from the log; undefined if the view has it. */
  readonly readTo: PositionParts | undefined;
  /** Whether the run is known to have ended. */
  readonly hasEnded: boolean;
  /** Whether no event follows the place, now or later. */
  readonly hasNothingMore: boolean;
}

/** A run that this instance follows. */
export interface TailedRun extends KnownRun {
  readonly tail: LogTail;
  /** Resolves when the tail is followed. */
  start(): Promise<void>;
}

/** The place that a client asks for. */
export interface PlaceWanted {
  readonly owner: string | undefined;
  /** The id of the last event that the client has. */
  readonly lastEventId: string | undefined;
  /** Returns whether the log is asked for the end of a run that does not fit into the first page. */
  readonly mustKnowEnd: (begin: RunBegin) => boolean;
}

// Most answers have fewer records. The client sees the first only when all are read, so a larger number delays it.
const FIRST_RECORDS = 500;
// A client that comes from another instance may be ahead of the tail here, by the delay of the network.
const AHEAD_WAIT_MS = 2_000;
// The time between the new log of a run and its first record: one round trip to the engine.
const BEGIN_WAIT_MS = 1_000;
const POLL_MS = 25;

/**
 * Finds the place of a client in a run that this instance follows, without a request to the log.
 *
 * @returns undefined if the view does not know the place: the view may lag or have been dropped, so ask the log
 * @throws SseError `log-unavailable`, `closed`
 */
export async function placeInView(
  view: TailedRun,
  { lastEventId }: PlaceWanted,
): Promise<RunPlace | undefined> {
  const after = lastEventId === undefined ? undefined : parsePosition(lastEventId);
  if (lastEventId !== undefined) {
    // If the run cannot be followed, findPlace() meets the cause and reports it.
    const isOfRun = after?.epoch === view.epoch && (await isAnchoredAt(view, after).catch(() => false));
    if (!isOfRun) {
      return undefined;
    }
  }
  return {
    run: view,
    cursor: after?.sequence ?? 0,
    ahead: [],
    readTo: undefined,
    hasEnded: false,
    hasNothingMore: false,
  };
}

/**
 * Finds a run in the log, and the place in it where a client begins, in one round trip.
 *
 * @returns undefined if there is no such run
 * @throws SseError `run-replaced` if the place belongs to a former run; `log-unavailable`, `closed`
 */
export async function findPlace(
  store: EventLogStore,
  name: string,
  { owner, lastEventId, mustKnowEnd }: PlaceWanted,
): Promise<RunPlace | undefined> {
  const after = lastEventId === undefined ? undefined : parsePosition(lastEventId);
  const [first, rest] = await readBegin(store, name, after);
  const run = first && knownRun(name, first.log, first.page);
  if (!run || !isOf(run.begin, owner)) {
    return undefined;
  }
  if (lastEventId !== undefined && !(after && rest && isAnchoredIn(rest.page, after))) {
    throw replaced(run.id);
  }
  const { page } = rest ?? first;
  const cursor = after?.sequence ?? 0;
  const records = page.records.filter(({ sequence }) => sequence > cursor);
  const isWhole = (page.records.at(-1)?.sequence ?? cursor) >= page.head;
  const known =
    isWhole || !mustKnowEnd(run.begin) ? outcomeOf(records) : await readOutcome(store, run, page.head);
  const hasEnded = known?.ending !== undefined;
  const last = records.at(-1);
  const hasMore = records.some(({ topic }) => topic === 'item' || topic === 'last');
  return {
    run,
    cursor,
    ahead: records.map((record) => new LogEvent(record, page.epoch)),
    readTo: last ? { epoch: page.epoch, sequence: last.sequence, nonce: last.nonce } : after,
    hasEnded,
    hasNothingMore: hasEnded && isWhole && !hasMore,
  };
}

/** Reads the first records of a run, and those from a place on. If its log is empty, it waits for the first record. */
async function readBegin(store: EventLogStore, name: string, after: PositionParts | undefined) {
  const until = performance.now() + BEGIN_WAIT_MS;
  for (;;) {
    const found = await Promise.all([
      store.find(name, { from: 1, limit: after ? 1 : FIRST_RECORDS }),
      after && store.find(name, { from: after.sequence, limit: FIRST_RECORDS }),
    ]);
    if (found[0]?.page.head !== 0 || performance.now() > until) {
      return found;
    }
    await pause(POLL_MS);
  }
}

function replaced(id: string): SseError {
  return new SseError(
    'run-replaced',
    `The Last-Event-ID is no place in the run ${show(id)}: that run is over, and another has its id. ` +
      'Attach without one to get the other in full.',
  );
}

function isAnchoredIn({ epoch, records: [first] }: LogPage, after: PositionParts): boolean {
  return epoch === after.epoch && first?.sequence === after.sequence && first.nonce === after.nonce;
}

async function isAnchoredAt(view: TailedRun, after: PositionParts): Promise<boolean> {
  await view.start();
  const { tail } = view;
  if (!(await tail.reaches(after.sequence, AHEAD_WAIT_MS))) {
    return false;
  }
  const isHeld = tail.holds(after);
  return isHeld ?? (await tail.pageAfter(after.sequence)).anchor?.record.nonce === after.nonce;
}
