export { isOf, knownRun, refuseOthers } from './known-run.js';
export type { KnownRun } from './known-run.js';
export { releaseLease, takeLease } from './lease.js';
export { nameOf, partsOf } from './name.js';
export {
  controlRecord,
  endingOf,
  eventRecords,
  instanceOf,
  kindOf,
  openOf,
  STOP_KEY,
  tokenOf,
} from './records.js';
export type { RecordKind, RunBegin, RunEnding, RunEndReason } from './records.js';
export { outcomeOf, readItems, readOutcome, readState, waitForEnd } from './state.js';
export type { RunState } from './state.js';
