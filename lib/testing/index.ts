export { openSse } from './open-sse.js';
export type { NestAppLike, OpenSseOptions, SseTarget } from './open-sse.options.js';
export type { ReceivedEvent } from './received-event.js';
export { SseTestError, type SseTestErrorCode } from './sse-test.error.js';
export type {
  CloseOptions,
  SseTestStream,
  StreamEnding,
  UntilOptions,
  WaitOptions,
} from './sse-test.stream.js';
export { waitFor, type WaitForOptions } from './wait-for.js';
