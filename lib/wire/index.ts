export {
  encodeHeartbeatComment,
  readAddedTopics,
  readsAnnouncements,
  RUN_FAILED_HEADER,
} from './announcements.js';
export type { SnapshotAnnouncement } from './announcements.js';
export { Chunk } from './chunk.js';
export { unknownFields } from './event.js';
export type { SseEvent, SseEventInput } from './event.js';
export {
  encodeComment,
  encodeEvent,
  encodePayload,
  encodeRecord,
  encodeRetry,
  encodeRunRecord,
  HEARTBEAT,
  recordBytes,
} from './frame.js';
export { disarmPromises, escapeLineSeparators, refuseForeign, toJson } from './json.js';
export { readLastEventId, readResumeId } from './last-event-id.js';
export { formatPosition, NO_NONCE, parsePosition } from './position.js';
export type { Position, PositionParts } from './position.js';
export { isContentFault } from './refusal.js';
export type { TopicEvent, TypedEvent, TypedPattern } from './topic-event.js';
export { topicMatches } from './topic-matches.js';
export { nameOf, parsePattern, parseTopic, topic } from './topic-name.js';
export { isTopic } from './topic.js';
export { defineTopic, TopicFamily, TypedTopic } from './typed-topic.js';
export type { TopicEvents } from './typed-topic.js';
