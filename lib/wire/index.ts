export { unknownFields } from './event.js';
export type { SseEvent, SseEventInput } from './event.js';
export { encodeComment, encodeEvent, encodeRetry, HEARTBEAT } from './frame.js';
export { readLastEventId } from './last-event-id.js';
