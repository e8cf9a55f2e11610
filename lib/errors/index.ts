export { MASKED_FAILURE } from './masked-message.js';
export { MAX_TIMER_MS, OptionChecks } from './option-checks.js';
export { RepeatedReport, RepeatLimit } from './repeated-report.js';
export type { Reporter } from './reporter.js';
export { reasonOf, show } from './show.js';
export { SseError } from './sse.error.js';
export type { SseErrorCode } from './sse.error.js';
export { WatchedPromise } from './watched-promise.js';
