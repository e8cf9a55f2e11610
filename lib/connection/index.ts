export { CatchUp } from './catch-up.js';
export { ChunkWrites } from './chunk-writes.js';
export type { ClosingFrames } from './closing-frames.js';
export { SseConnection } from './connection.js';
export type { CloseReason } from './connection.js';
export type { TurnAwayReason } from './counts.js';
export type { DrainSettings, Refusal } from './drain.js';
export { EventStreamResponse, eventStreamOf } from './event-stream-response.js';
export type { Feed, FeedDescription } from './feed.js';
export { Follow } from './following.js';
export type {
  FollowFrom,
  Following,
  FollowOptions,
  Patterns,
  PresenceOption,
  SnapshotEvent,
} from './following.js';
export type { ResponseOutput } from './output.js';
export { ConnectionRegistry, refusalForNow } from './registry.js';
export type { SseConnections } from './registry.js';
export type { Compression, ConnectionInit, ConnectionSettings } from './response-host.js';
export type { ResponseOwner, WaitsForHeaders } from './response-owner.js';
export { TurnWrites } from './turn-writes.js';
