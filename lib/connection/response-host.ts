import type { Reporter } from '../errors/index.js';
import type { SharedStreams } from '../compression/index.js';
import type { Platform } from '../http/index.js';
import type { DeadlineWheel } from '../time/index.js';
import type { Chunk } from '../wire/index.js';
import type { CloseReason } from './connection.js';
import type { EventStreamResponse } from './event-stream-response.js';
import type { Following } from './following.js';
import type { WriteCounts } from './output.js';
import type { ResponseOwner } from './response-owner.js';

/** How streams are compressed: see `compression` of the module. */
export type Compression = false | 'events' | 'stream';

/** Fully resolved settings of one connection. */
export interface ConnectionSettings {
  heartbeatMs: number | false;
  retryMs: number;
  maxConnectionMs: number | undefined;
  maxBufferedBytes: number;
  maxBurstBytes: number;
  maxEventBytes: number;
  expiresAt: Date | undefined;
  /** Returns `expiresAt` of a request, on an `@Sse()` route. */
  expiresAtOf?: (request: unknown) => Date | undefined;
  /** Whether the client is admitted only while this instance knows what others revoke. */
  revocable: boolean;
  /** How the stream is compressed for clients that take gzip. */
  compression: Compression;
  /** Whether connections have keys: the app has set `keyOf` or `tickets`. */
  hasKeys: boolean;
}

/** The registry, as a response sees it. */
export interface ConnectionHost {
  readonly wheel: DeadlineWheel;
  readonly writeCounts: WriteCounts;
  readonly sharedStreams: SharedStreams;
  readonly following: Following | undefined;
  readonly reporter: Reporter;
  /**
   * A response has closed. It may still have bytes to flush.
   *
   * @param openMs - milliseconds since its headers were sent; undefined if they were not
   */
  onClosed(response: EventStreamResponse, reason: CloseReason, openMs: number | undefined): void;
  /** The feed of a response has caught up: what the app sends need not wait for it any more. */
  onCaughtUp(response: EventStreamResponse): void;
  /** A response that was pipelined behind another has its turn on the socket. */
  onTurn(response: EventStreamResponse): void;
  /** More or less may wait for the client of a response than before. */
  onQueue(response: EventStreamResponse): void;
  /** A response is disposed. */
  onDisposed(response: EventStreamResponse): void;
  onUnknownFields(route: string, fields: string[]): void;
  /** A response threw, and is destroyed. */
  onBroken(route: string, error: unknown): void;
  /** Warns once for each subject. */
  warnOnce(subject: string, message: string): void;
  /** An event was left out because its content cannot be sent. */
  onContentFault(route: string, error: Error): void;
  /** Encodes a frame. Responses that send the same frame one after the other share the bytes. */
  chunkOf(frame: string): Chunk;
  /** What {@link chunkOf} returned last, in this turn. */
  readonly lastChunk: Chunk;
  /** Calls `endTurn` of the response at the end of this turn. */
  joinTurn(response: EventStreamResponse): void;
}

/** What a response is made of. */
export interface ConnectionInit {
  platform: Platform;
  settings: ConnectionSettings;
  host: ConnectionHost;
  /** Absent if this package sends the headers. */
  owner?: ResponseOwner;
  /** Whether the client takes the end of the response for the end of the answer, as for a POST. */
  finite: boolean;
  /** Whether a source produces the events. If anything but its end ends the response, the stream has failed. */
  hasSource?: boolean;
  /** Sent besides those of every event stream, if this package sends the headers. */
  headers?: Readonly<Record<string, string>>;
  /** The keys that the connection belongs to, by `keyOf`. None by default. */
  keys?: readonly string[];
  data?: unknown;
}
