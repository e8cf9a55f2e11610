export {
  openSse,
  type NestAppLike,
  type OpenSseOptions,
  type ReconnectOptions,
  type SseTarget,
} from './open-sse.js';
export {
  ReceivedEvent,
  type CloseOptions,
  type SseTestStream,
  type StreamEnding,
  type UntilOptions,
  type WaitOptions,
} from './sse-test-stream.js';
export { SseTestError, type SseTestErrorCode } from './sse-test.error.js';
export { waitFor, type WaitForOptions } from './wait-for.js';
