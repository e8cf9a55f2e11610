export { afterReading } from './after-reading.js';
export { DeadlineWheel, now } from './deadline-wheel.js';
export type { Deadline } from './deadline-wheel.js';
export { Expiry } from './expiry.js';
export { pause } from './pause.js';
export { within } from './within.js';
