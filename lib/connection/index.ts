export { ChunkWrites } from './chunk-writes.js';
export { connectionOf, SseConnection } from './connection.js';
export type {
  CloseReason,
  ConnectionInit,
  ConnectionSettings,
  Feed,
  LastWords,
  ResponseOwner,
  WaitsForHeaders,
} from './connection.js';
export type { DrainSettings, Refusal } from './drain.js';
export { Follow } from './following.js';
export type { FollowFrom, Following, FollowOptions, Patterns, SnapshotEvent } from './following.js';
export type { ResponseOutput } from './output.js';
export { ConnectionRegistry } from './registry.js';
export type { SseConnections } from './registry.js';
export { TurnWrites } from './turn-writes.js';
