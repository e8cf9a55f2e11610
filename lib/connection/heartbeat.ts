import type { ResponseOutput } from './output.js';

/**
 * Writes a heartbeat if the client has been sent nothing for a time. Called again when the silence could be long
 * enough, which is cheaper than to move a deadline with each event.
 *
 * @param heartbeatMs - the longest silence, in milliseconds
 * @param now - by the clock of the wheel
 * @returns the milliseconds until the next call
 */
export function beat(output: ResponseOutput, heartbeatMs: number, now: number): number {
  const waitMs = output.lastByteAt + heartbeatMs - now;
  if (waitMs > 0) {
    return waitMs;
  }
  // Bytes that wait for the client probe it as well, and must not grow while it sleeps.
  if (output.keepsUp) {
    output.beat();
  }
  return heartbeatMs;
}
