export type {
  CloseReason,
  FollowFrom,
  FollowOptions,
  Patterns,
  PresenceOption,
  SnapshotEvent,
  SseConnections,
} from './connection/index.js';
export type {
  FormatEvents,
  StreamEnd,
  StreamFailure,
  StreamFormat,
  StreamItems,
  StreamSource,
} from './stream/index.js';
export { Follow, SseConnection } from './connection/index.js';
export { Connection } from './decorators/connection.decorator.js';
export { LastEventId } from './decorators/last-event-id.decorator.js';
export { SseOptions } from './decorators/sse-options.decorator.js';
export { isEventStream, whenAnswered } from './sse.answered.js';
export { closeOn } from './operators/index.js';
export { memory } from './engines/memory/index.js';
export type { EventLogFactory, LogState, OutboxFactory } from './log/index.js';
export type { MemoryLogOptions } from './engines/memory/index.js';
export type { RunEnd, RunEndReason, RunHandOver, RunSource, SseRunOptions } from './runs/index.js';
export type { StreamFormatName } from './stream/index.js';
export { SseError } from './errors/index.js';
export type { SseErrorCode } from './errors/index.js';
export type { SseHealth, SseHealthState } from './sse.health.js';
export type { DurationCounts as SseDurations, Span as SseSpan } from './time/index.js';
export type {
  SseConnectionMetrics,
  SseLogMetrics,
  SseMetrics,
  SseRunMetrics,
  SseTopicMetrics,
} from './sse.metrics.js';
export { SSE_OPTIONS } from './sse.module-definition.js';
export type { SseTracer } from './sse.tracing.js';
export type { SseOptionsFactory } from './sse.module-definition.js';
export { SseModule } from './sse.module.js';
export type {
  SseAttachOptions,
  SseConnectOptions,
  SseHandlerOptions,
  SseModuleOptions,
  SseRouteOptions,
  SseStreamOptions,
} from './sse.options.js';
export { SsePresence } from './sse.presence.js';
export type { SsePublishOptions } from './sse.publish-options.js';
export type { RunAttachmentEnd, RunStatus, SseOwnedRuns, SseRuns } from './sse.runs.js';
export { SseService } from './sse.service.js';
export { SseTicketGuard } from './sse-ticket.guard.js';
export { ticketOf } from './sse.tickets.js';
export type { SseTicket, SseTickets } from './sse.tickets.js';
export type { SseRevalidateOptions, SseTicketOptions } from './sse.trust-options.js';
export type { SsePresenceOptions } from './sse.presence-options.js';
export type {
  ResetReason,
  SsePresenceChange,
  SsePresenceList,
  SsePresenceMember,
  TopicEventsOptions,
  TopicGap,
} from './topics/index.js';
export { defineTopic, topic, TopicFamily, topicMatches, TypedTopic } from './wire/index.js';
export type {
  Position,
  SseEvent,
  SseEventInput,
  TopicEvent,
  TopicEvents,
  TypedEvent,
  TypedPattern,
} from './wire/index.js';
