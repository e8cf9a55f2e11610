import { encodeRetry } from '../wire/index.js';
import type { CloseReason } from './connection.js';

/**
 * Makes the last frames of a stream with a format, which tell its client why the stream ends.
 *
 * @returns undefined if the format has no frames for the reason: the response is cut
 */
export type ClosingFrames = (reason: CloseReason) => string | undefined;

/** What a client is told as its stream ends. */
export interface Closing {
  /** When it may come back, in milliseconds. */
  readonly retryMs?: number;
  /** The closing frames of the stream's format. */
  readonly frames?: string;
}

/**
 * Encodes what a client is told as its stream ends.
 *
 * `retry` has no blank line of its own: @microsoft/fetch-event-source fires a message without data for one. Of all
 * clients that were tried, only undici's EventSource then ignores the `retry`, and comes back after the first one.
 */
export function encodeClosing({ retryMs, frames = '' }: Closing): string {
  return retryMs === undefined ? frames : `${encodeRetry(retryMs)}${frames}`;
}
