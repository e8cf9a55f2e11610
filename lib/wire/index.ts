export { unknownFields } from './event.js';
export type { SseEvent, SseEventInput } from './event.js';
export { Chunk } from './chunk.js';
export { encodeComment, encodeEvent, encodePayload, encodeRecord, encodeRetry, HEARTBEAT } from './frame.js';
export { readLastEventId } from './last-event-id.js';
export { formatPosition, NO_NONCE, parsePosition } from './position.js';
export type { Position, PositionParts } from './position.js';
export { show } from './show.js';
export type { TopicEvent, TypedEvent, TypedPattern } from './topic-event.js';
