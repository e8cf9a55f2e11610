export { BoundedWarning } from './bounded-warning.js';
export { OptionChecks } from './option-checks.js';
export { RepeatedReport } from './repeated-report.js';
export type { Reporter } from './reporter.js';
export { reasonOf, show } from './show.js';
export { SseError } from './sse.error.js';
export type { SseErrorCode } from './sse.error.js';
export { WatchedPromise } from './watched-promise.js';
