import type { RunEndReason } from '../../../lib/runs/index.js';
import type { TokenFormat } from './tokens.js';

/** How long a silent source waits: far longer than anybody may take to stop it. */
export const SILENCE_MS = 12_000;

/** What a run is to make: enough for its source, and for whoever judges what became of it. */
export interface RunPlan {
  readonly id: string;
  /** Which of the runs under the id. */
  readonly turn: number;
  readonly format: TokenFormat;
  readonly tokens: number;
  /** Before each token, over and over again. */
  readonly pausesMs: readonly number[];
  /** The token before which the source says nothing for {@link SILENCE_MS}; -1 where there is none. */
  readonly silentAt: number;
  /** The token in place of which the source fails; -1 where it does not. */
  readonly failsAt: number;
  readonly onDisconnect: 'continue' | 'abort';
  readonly orphanMs: number;
  readonly onShutdown: 'end' | 'hand-over';
}

/** Whether it is one whose answer a process cannot save at its first try. */
export function isUnsaved(id: string): boolean {
  return id.endsWith('-unsaved');
}

/** Whether it is one that takes seconds: longer than an append may be on its way. */
export function isSlow(id: string): boolean {
  return id.endsWith('-slow');
}

/** What an instance wrote down of itself, with the time in milliseconds since 1970. */
export type Report = { readonly at: number } & (
  | { readonly kind: 'source'; readonly producer: string; readonly id: string; readonly turn: number }
  | { readonly kind: 'token'; readonly producer: string; readonly index: number }
  | { readonly kind: 'over'; readonly producer: string; readonly how: 'done' | 'failed' | 'aborted' }
  | { readonly kind: 'end'; readonly end: SavedEnd }
  | { readonly kind: 'refusal'; readonly key: string }
  /** Nothing of it ran for a while, until now. */
  | { readonly kind: 'stall'; readonly ms: number }
);

/** What `onEnd` was given. */
export interface SavedEnd {
  readonly id: string;
  readonly key: string;
  readonly reason: RunEndReason;
  readonly events: number;
  readonly bytes: number;
  readonly items: readonly unknown[];
}

/** A process of the app. */
export interface ProcessRecord {
  readonly name: string;
  /** How it ended; `left` where it was there to the end. */
  readonly fate: 'killed' | 'closed' | 'left';
  readonly reports: readonly Report[];
}

/** A record of a run's log, as its engine holds it. */
export interface StoredRecord {
  /** The id that clients get. */
  readonly id: string;
  readonly kind: string;
  readonly type: string | undefined;
  readonly data: string;
  readonly at: number;
}

/** One run, by its log. */
export interface StoredRun {
  readonly id: string;
  /** The epoch of the log, which is the run's key. */
  readonly key: string;
  /** What its log holds, or held last. */
  readonly records: readonly StoredRecord[];
  /** What it held each time that an old copy of it came back, and took the place of more. */
  readonly past: readonly (readonly StoredRecord[])[];
}

/** What a page saw, in its order. */
export type Sight = { readonly at: number } & (
  | { readonly kind: 'ask'; readonly method: 'POST' | 'GET'; readonly after: string | undefined }
  | { readonly kind: 'answer'; readonly status: number }
  | { readonly kind: 'event'; readonly id: string; readonly type: string; readonly data: string }
  /** `left` where the page closed it. */
  | { readonly kind: 'close'; readonly how: 'clean' | 'cut' | 'left' }
);

/** A user's page, with all that it saw. */
export interface PageRecord {
  readonly name: string;
  readonly id: string;
  readonly sights: readonly Sight[];
  /**
   * With what it was content.
   *
   * - `told`: with the last words of the format.
   * - `clean`: with a response that has ended as if it were complete.
   * - `none`: with 204, after it had been given something before.
   * - `failed`: with the status of a run that has made nothing.
   * - `nothing`: there never was a run for it.
   *
   * Undefined where it still waits.
   */
  readonly end: 'told' | 'clean' | 'none' | 'failed' | 'nothing' | undefined;
}

/** A call of `stop()`. */
export interface StopCall {
  readonly id: string;
  readonly askedAt: number;
  /** What it was answered; undefined where nothing came, or a failure. */
  readonly wasLive: boolean | undefined;
}

/** All that is known of a run of the test. */
export interface RunsHistory {
  /** By id, each turn. */
  readonly plans: ReadonlyMap<string, readonly RunPlan[]>;
  /** In the order in which they began. */
  readonly stored: readonly StoredRun[];
  readonly pages: readonly PageRecord[];
  readonly processes: readonly ProcessRecord[];
  readonly stops: readonly StopCall[];
  /** Whether the log, or the way there, failed at times. */
  readonly isLogFaulty: boolean;
  /** What is left of leases. */
  readonly leases: readonly string[];
}
