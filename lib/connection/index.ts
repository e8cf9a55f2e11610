export { ChunkWrites } from './chunk-writes.js';
export { connectionOf, SseConnection } from './connection.js';
export type {
  CloseReason,
  ConnectionSettings,
  Feed,
  LastWords,
  ResponseOwner,
  WaitsForHeaders,
} from './connection.js';
export { ConnectionRegistry } from './connections.js';
export type { DrainSettings, Refusal, SseConnections } from './connections.js';
export type { Deadline, DeadlineWheel } from './deadline-wheel.js';
export { eventsOf } from './format.js';
export type { FormatEvents, StreamFailure, StreamFormat } from './format.js';
export { wordsOfRefusal } from './last-words.js';
export { Follow } from './following.js';
export type { Following, FollowFrom, FollowOptions, Patterns, SnapshotEvent } from './following.js';
export type { ResponseOutput } from './output.js';
export { isResponse, sentContentType, toPlatform } from './platform.js';
export type { Platform, RawResponse } from './platform.js';
export { RepeatedReport } from './repeated-report.js';
export type { Reporter } from './reporter.js';
export { consume, isPullable, releaseSource } from './source.js';
export type { ItemConsumer, ItemSink, StreamItems } from './source.js';
export { streamTo } from './stream.js';
export type { PublicError, StreamEnd, StreamSource } from './stream.js';
export { TurnWrites } from './turn-writes.js';
