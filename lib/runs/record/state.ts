import type { EventLogStore, LogRecord } from '../../log/index.js';
import { pause } from '../../time/index.js';
import { knownRun } from './known-run.js';
import type { KnownRun } from './known-run.js';
import { endingOf, itemOf } from './records.js';
import type { RunEnding } from './records.js';

/** What the last records of a run say. */
interface RunOutcome {
  readonly ending: RunEnding | undefined;
  /** Whether everyone who is told of the end has been. */
  readonly isSettled: boolean;
  /** Whether a record says that somebody wants it to end; on some engines a notice does. */
  readonly isStopRequested: boolean;
  /** When its producer left it for another, by the clock of that; undefined where none has, or another goes on. */
  readonly handedOverAt: number | undefined;
}

/** How a run stands, as its log says. */
export interface RunState extends KnownRun, RunOutcome {}

// What can follow the end: the word that it is settled, and what instances said that had not heard of it.
const LAST_RECORDS = 64;
const PAGE_RECORDS = 1_000;
// A way to the producer and back, where nothing is in its way.
const POLL_MS = 10;

/**
 * Looks how a run stands.
 *
 * @param name of its log: see `nameOf`
 * @returns undefined where there is none
 * @throws SseError `log-unavailable`, `closed`
 */
export async function readState(store: EventLogStore, name: string): Promise<RunState | undefined> {
  const found = await store.find(name, { from: 1, limit: LAST_RECORDS });
  const run = found && knownRun(name, found.log, found.page);
  if (!found || !run) {
    return undefined;
  }
  const { records, head } = found.page;
  const isWhole = (records.at(-1)?.sequence ?? 0) >= head;
  const outcome = isWhole ? outcomeOf(records) : await readOutcome(store, run, head);
  return outcome && { ...run, ...outcome };
}

/**
 * Looks how a run stands of which the head is known: one request.
 *
 * @returns undefined where another has taken its place
 * @throws SseError `log-unavailable`, `closed`
 */
export async function readOutcome(
  store: EventLogStore,
  { name, epoch }: KnownRun,
  head: number,
): Promise<RunOutcome | undefined> {
  const last = await store.find(name, {
    from: Math.max(1, head - LAST_RECORDS + 1),
    limit: LAST_RECORDS,
  });
  return last?.page.epoch === epoch ? outcomeOf(last.page.records) : undefined;
}

/**
 * Waits until the log says that a run is over, or some milliseconds have passed.
 *
 * @throws SseError `log-unavailable`, `closed`
 */
export async function waitForEnd(store: EventLogStore, run: KnownRun, ms: number): Promise<void> {
  const until = performance.now() + ms;
  while (performance.now() < until) {
    await pause(POLL_MS);
    const state = await readState(store, run.name);
    if (state?.epoch !== run.epoch || state.ending) {
      return;
    }
  }
}

/** What the last records say. */
export function outcomeOf(records: readonly LogRecord[]): RunOutcome {
  let ending: RunEnding | undefined;
  let isSettled = false;
  let isStopRequested = false;
  let handedOverAt: number | undefined;
  for (const record of records) {
    if (record.topic === 'end') {
      ending = endingOf(record);
      isSettled = ending.isSettled;
    }
    isSettled ||= record.topic === 'settled';
    isStopRequested ||= record.topic === 'stop';
    if (record.topic === 'handed-over' || record.topic === 'taken-over') {
      handedOverAt = record.topic === 'handed-over' ? record.time : undefined;
    }
  }
  return { ending, isSettled, isStopRequested, handedOverAt };
}

/** Everything that was made so far, and how much that is. */
export async function readItems({
  epoch,
  begin,
  log,
}: KnownRun): Promise<{ items: unknown[]; events: number; bytes: number }> {
  const items: unknown[] = [];
  let bytes = 0;
  let from = 1;
  for (;;) {
    const page = await log.page(from, PAGE_RECORDS);
    if (page.epoch !== epoch || page.records.length === 0) {
      return { items, events: items.length, bytes };
    }
    for (const record of page.records) {
      if (record.topic === 'item') {
        items.push(itemOf(record, begin.hasFormat));
        bytes += Buffer.byteLength(record.data);
      }
    }
    from = page.records.at(-1)!.sequence + 1;
  }
}
