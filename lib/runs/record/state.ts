import type { EventLogStore, LogRecord } from '../../log/index.js';
import { pause } from '../../time/index.js';
import { knownRun } from './known-run.js';
import type { KnownRun } from './known-run.js';
import { endingOf, itemOf } from './records.js';
import type { RunEnding } from './records.js';

/** The outcome of a run, as its last records tell. */
interface RunOutcome {
  readonly ending: RunEnding | undefined;
  /** Whether all listeners were told of the end. */
  readonly isSettled: boolean;
  /** Whether a record asks the run to end. On some engines a notice does so instead. */
  readonly isStopRequested: boolean;
  /**
   * When the producer handed the run over, by its clock; undefined if it did not, or another has taken the run over.
   */
  readonly handedOverAt: number | undefined;
}

/** A run and its outcome so far, as its log tells. */
export interface RunState extends KnownRun, RunOutcome {}

// The most records that can follow the end: `settled`, and records of instances that had not received the end yet.
const LAST_RECORDS = 64;
const PAGE_RECORDS = 1_000;
// About a round trip to the producer.
const POLL_MS = 10;

/**
 * Reads the state of a run.
 *
 * @param name - the name of its log: see `nameOf`
 * @returns undefined if there is no such run
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
 * Reads the outcome of a run whose head is known, in one request.
 *
 * @returns undefined if another run has replaced it
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
 * Waits until the end of a run is recorded, but no longer than a time in milliseconds.
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

/** Reads the outcome from the last records of a run. */
export function outcomeOf(records: readonly LogRecord[]): RunOutcome {
  let ending: RunEnding | undefined;
  let isSettled = false;
  let isStopRequested = false;
  let handedOverAt: number | undefined;
  for (const record of records) {
    if (record.topic === 'end') {
      ending = endingOf(record);
      // `settled` is before it if an older copy of the log has lost the end of which the listeners were told.
      isSettled ||= ending.isSettled;
    }
    isSettled ||= record.topic === 'settled';
    isStopRequested ||= record.topic === 'stop';
    if (record.topic === 'handed-over' || record.topic === 'taken-over') {
      handedOverAt = record.topic === 'handed-over' ? record.time : undefined;
    }
  }
  return { ending, isSettled, isStopRequested, handedOverAt };
}

/** Reads all items so far, their number, and the bytes of their data. */
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
