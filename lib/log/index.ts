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
  OutboxFactory,
} from './event-log.js';
export { LogEvent } from './log-event.js';
export { warnOfOtherProcesses } from './other-processes.js';
export { BLOCK_EVENTS } from './pages.js';
export type { EventPage } from './pages.js';
export { Queue } from './queue.js';
export type { RelayBatch, RelayPlace, RelayTarget } from './relay.js';
export { Ring } from './ring.js';
export { LogTail } from './tail.js';
export type { TailListener } from './tail.js';
export { bytesInMemory } from './text-bytes.js';
