export { defineTopic, TopicFamily, TypedTopic } from '../wire/typed-topic.js';
export type { TopicEvents } from '../wire/typed-topic.js';
export type { TypedPattern } from '../wire/topic-event.js';
export { SseClientError } from './client.error.js';
export type { SseClientErrorCode, SseClientErrorDetails } from './client.error.js';
export { Feed } from './feed.js';
export { FeedView } from './feed-view.js';
export type { FeedObserver } from './feed.js';
export type {
  ClientFollowOptions,
  EventInfo,
  FeedEvent,
  ReadState,
  Resume,
  StateInfo,
  UseOptions,
} from './feed.types.js';
export { RunAnswer } from './run-answer.js';
export type { RunOptions, RunOutcome, RunRequest, RunTarget } from './run-answer.js';
export type { RunFormat } from './run.formats.js';
export type { HeadersSource, ShareTabsOptions, SseClientOptions } from './settings.js';
export type { SharingReason, SharingStatus } from './sharing/messages.js';
export { SseClient } from './sse-client.js';
export type { ClientTopics } from './sse-client.js';
export type { StreamStatus } from './stream-loop.js';
