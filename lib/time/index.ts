export { afterReading } from './after-reading.js';
export { DeadlineWheel, now } from './deadline-wheel.js';
export type { Deadline } from './deadline-wheel.js';
export { Durations, LONG_MS, SHORT_MS } from './durations.js';
export type { DurationCounts } from './durations.js';
export { Expiry } from './expiry.js';
export { pause } from './pause.js';
export type { Span } from './span.js';
export { within } from './within.js';
