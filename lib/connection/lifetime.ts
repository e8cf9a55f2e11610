import type { ConnectionSettings } from './response-host.js';

/**
 * A response is closed up to 10% before `maxConnectionMs`, at random: before a proxy's own limit, and so that clients
 * that connected together do not reconnect together.
 */
const ROTATION_JITTER = 0.1;

/** Returns after how many milliseconds a response is rotated; Infinity if never. */
export function rotationOf({ maxConnectionMs = Infinity }: ConnectionSettings): number {
  return maxConnectionMs * (1 - Math.random() * ROTATION_JITTER);
}

/** Returns the milliseconds until a time, 0 or more; Infinity if there is none. */
export function leftUntil(expiresAt: Date | undefined): number {
  return expiresAt ? Math.max(0, expiresAt.getTime() - Date.now()) : Infinity;
}
