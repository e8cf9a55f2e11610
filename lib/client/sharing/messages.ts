import type { SseClientErrorCode } from '../client.error.js';
import type { Frame } from '../frame.parser.js';
import type { StreamStatus } from '../stream-loop.js';

/** A frame as the leader hands it on. */
export interface HandedFrame {
  readonly frame: Frame;
  /** The leader's place before the frame: a tab whose place is earlier lacks something. */
  readonly previous: string | undefined;
  /** A reset or a state: the tab goes on from there, whatever it had. */
  readonly isAnchor: boolean;
}

/** A failure that the leader's connection has survived. */
export interface HandedError {
  readonly code: SseClientErrorCode;
  readonly message: string;
  readonly status: number | undefined;
  readonly url: string | undefined;
  readonly body: string | undefined;
}

/** Why this tab connects for itself. */
export type SharingReason =
  /** `shareTabs` is not set. */
  | 'off'
  /** The code that shares is being loaded. */
  | 'starting'
  /** It could not be loaded, as after a deploy that has removed it. */
  | 'not-loaded'
  | 'insecure-context'
  | 'no-web-locks'
  | 'no-broadcast-channel'
  /** A tab with the same `shareTabs` has another `identity`. */
  | 'account-switched'
  | 'signed-out'
  /** The server sends no positions by which tabs could agree on what they have. */
  | 'no-positions';

/** How a client shares its connections with other tabs. */
export interface SharingStatus {
  /** False if each feed has a connection of its own; then `reason` says why. */
  readonly isShared: boolean;
  readonly reason: SharingReason | undefined;
  /** How many shared connections this tab holds for all. */
  readonly leads: number;
}

/** What the tab that holds the lock tells the others. Each message has its term. */
export type LeaderMessage = { readonly term: number; readonly leader: string } & (
  | { readonly kind: 'census' }
  | { readonly kind: 'lead'; readonly from: string | undefined; readonly snapshots: number | undefined }
  | { readonly kind: 'status'; readonly status: StreamStatus }
  | { readonly kind: 'frames'; readonly frames: readonly HandedFrame[] }
  | { readonly kind: 'failure'; readonly error: HandedError }
  | { readonly kind: 'pong' }
  | { readonly kind: 'no-positions' }
  | Welcome
);

/** The answer to a `hello`: what the tab lacks, or undefined if the leader cannot tell. */
export interface Welcome {
  readonly kind: 'welcome';
  readonly to: string;
  readonly status: StreamStatus;
  readonly frames: readonly HandedFrame[] | undefined;
  readonly snapshots: number | undefined;
}

/** What a tab tells the leader, with the highest term that it knows. */
export type TabMessage = { readonly term: number; readonly from: string } & (
  | { readonly kind: 'hello'; readonly place: string | undefined }
  | { readonly kind: 'here'; readonly place: string | undefined; readonly snapshots: number | undefined }
  | { readonly kind: 'ping' }
);

export type GroupMessage = LeaderMessage | TabMessage;

/** What clients of one `shareTabs` tell one another, whatever they follow. */
export type NameMessage =
  | { readonly kind: 'identity' | 'returned'; readonly identity: string | null }
  | { readonly kind: 'signed-out'; readonly identity: string | null };
