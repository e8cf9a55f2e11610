export { areKeys, keysFrom, NO_KEYS } from './keys.js';
export { DEFAULT_LIMITS, Limits, MAX_REPLAY_WAIT_MS, RUN_MS } from './limits.js';
export type { LimitName, LimitSettings } from './limits.js';
export type { QueueingClient } from './queued-bytes.js';
export { QueuedBytes } from './queued-bytes.js';
export { ReplayReads } from './replay-reads.js';
