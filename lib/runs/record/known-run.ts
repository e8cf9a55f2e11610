import { SseError } from '../../errors/index.js';
import type { LogRecord, NamedLog } from '../../log/index.js';
import { partsOf } from './name.js';
import { beginOf } from './records.js';
import type { RunBegin } from './records.js';

/** A run, as its log knows it. */
export interface KnownRun {
  readonly id: string;
  /** The name of its log, which joins the id and the owner. */
  readonly name: string;
  readonly epoch: string;
  readonly begin: RunBegin;
  readonly log: NamedLog;
}

/** Reads a run from its first record. Returns undefined if the record is not there yet, or is there no more. */
export function knownRun(
  name: string,
  log: NamedLog,
  { epoch, records: [first] }: { epoch: string; records: readonly LogRecord[] },
): KnownRun | undefined {
  const begin = first?.topic === 'begin' ? beginOf(first) : undefined;
  return begin && { id: partsOf(name).id, name, epoch, log, begin };
}

/**
 * Returns whether a run belongs to an owner. Its name says so already, unless an instance of version 0.1 started it:
 * that version names a run by its id alone, even if it has an owner.
 */
export function isOf(begin: RunBegin, owner: string | undefined): boolean {
  return begin.owner === owner;
}

/** @throws SseError `run-forbidden` */
export function refuseOthers(begin: RunBegin, owner: string | undefined): void {
  if (!isOf(begin, owner)) {
    throw new SseError(
      'run-forbidden',
      'An instance with version 0.1 of this package has made a run with this id and an owner. Ids without an owner ' +
        'and those runs share a name for as long as that version runs.',
    );
  }
}
