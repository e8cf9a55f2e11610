export { memory } from './memory.event-log.js';
export type { MemoryLogOptions } from './memory.event-log.js';
