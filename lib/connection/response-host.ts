import type { Reporter } from '../errors/index.js';
import type { Platform } from '../http/index.js';
import type { DeadlineWheel } from '../time/index.js';
import type { Chunk } from '../wire/index.js';
import type { EventStreamResponse } from './event-stream-response.js';
import type { Following } from './following.js';
import type { WriteCounts } from './output.js';
import type { ResponseOwner } from './response-owner.js';

/** The settings of one connection, all of them given. */
export interface ConnectionSettings {
  heartbeatMs: number | false;
  retryMs: number;
  maxConnectionMs: number | undefined;
  maxBufferedBytes: number;
  maxBurstBytes: number;
  maxEventBytes: number;
  expiresAt: Date | undefined;
}

/** What a connection needs of the registry that it stands in. */
export interface ConnectionHost {
  readonly wheel: DeadlineWheel;
  readonly writeCounts: WriteCounts;
  readonly following: Following | undefined;
  readonly reporter: Reporter;
  /** No more will be sent; the response may still have to be flushed. */
  onClosed(response: EventStreamResponse): void;
  /** Its feed has nothing to deliver any more before what the app sends. */
  onCaughtUp(response: EventStreamResponse): void;
  /** The response is over, and everything of it freed. */
  onDisposed(response: EventStreamResponse): void;
  onUnknownFields(route: string, fields: string[]): void;
  /** The response of a client has thrown; it is destroyed. */
  onBroken(route: string, error: unknown): void;
  /** Warns once of each subject. */
  warnOnce(subject: string, message: string): void;
  /** An event was left out, because its content cannot be sent. */
  onContentFault(route: string, error: Error): void;
  /** The frame as bytes: the same ones where the last connection to send sent the same. */
  chunkOf(frame: string): Chunk;
  /** Has `endTurn` called at the end of this turn. */
  joinTurn(response: EventStreamResponse): void;
}

/** How a connection is opened; for the rooms of this package. */
export interface ConnectionInit {
  platform: Platform;
  settings: ConnectionSettings;
  host: ConnectionHost;
  /** Absent where we commit the headers ourselves. */
  owner?: ResponseOwner;
  /** True where the end of the response means that the answer is complete, as for a POST. */
  finite: boolean;
  /** Whether a source makes what is sent, whose end alone ends the response: one by other code is a failure. */
  hasSource?: boolean;
  /** Sent with our own, where we commit the headers ourselves. */
  headers?: Readonly<Record<string, string>>;
  data?: unknown;
}
