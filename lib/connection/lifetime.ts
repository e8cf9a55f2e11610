import type { ConnectionSettings } from './response-host.js';

/**
 * A response is closed up to 10% before `maxConnectionMs`, at random: before a proxy's own limit, and so that clients
 * that connected together do not reconnect together.
 */
const ROTATION_JITTER = 0.1;

/** Returns how long a response may stay open from now on, in milliseconds, 0 or more. */
export function lifetimeOf({ maxConnectionMs = Infinity, expiresAt }: ConnectionSettings): number {
  const rotateMs = maxConnectionMs * (1 - Math.random() * ROTATION_JITTER);
  const expireMs = expiresAt ? expiresAt.getTime() - Date.now() : Infinity;
  return Math.max(0, Math.min(rotateMs, expireMs));
}
