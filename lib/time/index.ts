export { DeadlineWheel, MAX_TIMEOUT_MS, now } from './deadline-wheel.js';
export type { Deadline } from './deadline-wheel.js';
export { Expiry } from './expiry.js';
export { within } from './within.js';
