export type {
  Appended,
  EventLog,
  EventLogFactory,
  EventLogStore,
  Lease,
  LogHead,
  LogListener,
  LogPage,
  LogRecord,
  NewRecord,
} from './event-log.js';
export { LogEvent } from './log-event.js';
export { memory } from './memory.event-log.js';
export type { MemoryLogOptions } from './memory.event-log.js';
export { Ring } from './ring.js';
export { LogTail } from './tail.js';
export type { EventPage, TailListener } from './tail.js';
