export { NO_APP } from './event-log.js';
export type {
  Appended,
  EngineContext,
  EventLog,
  EventLogFactory,
  EventLogStore,
  Lease,
  LogHead,
  LogHealth,
  LogListener,
  LogPage,
  LogRecord,
  LogState,
  LossReason,
  NamedLog,
  NewRecord,
} from './event-log.js';
export { Expiry } from './expiry.js';
export { HealthState } from './health.js';
export { newEpoch, NonceSource } from './identity.js';
export { LogListeners } from './listeners.js';
export { LogEvent } from './log-event.js';
export { memory } from './memory.event-log.js';
export type { MemoryLogOptions } from './memory.event-log.js';
export type { EventPage } from './pages.js';
export { OptionChecks } from './option-checks.js';
export { warnOfOtherProcesses } from './other-processes.js';
export { optionalPeer } from './optional-peer.js';
export { problemOf, RecordCheck } from './record-check.js';
export type { RecordLimits, UncheckedRecord } from './record-check.js';
export { Ring } from './ring.js';
export { LogTail } from './tail.js';
export type { TailListener } from './tail.js';
export { cannotReach, unreachable } from './unreachable.js';
