export { HealthState } from './health.js';
export { newEpoch, NonceSource } from './identity.js';
export { LeaseTerm } from './lease-term.js';
export { LogListeners } from './listeners.js';
export { optionalPeer } from './optional-peer.js';
export { problemOf, RecordCheck } from './record-check.js';
export type { RecordLimits, UncheckedRecord } from './record-check.js';
export { cannotReach, unreachable } from './unreachable.js';
