import { Durations, LONG_MS } from '../time/index.js';
import type { CloseReason } from './connection.js';

/**
 * Why a client was turned away before its stream began.
 *
 * - `capacity`: the process has `maxConnections` open.
 * - `limit`: its key has reached `limits.connectionsPerKey` or `limits.connectsPerKeyPerMinute`.
 * - `log`: the log cannot be read, and without it the client cannot be served.
 * - `revoked`: its key is revoked.
 * - `shutdown`: the app is closing.
 * - `ticket`: its ticket opens no stream any more.
 */
export type TurnAwayReason = 'capacity' | 'limit' | 'log' | 'revoked' | 'shutdown' | 'ticket';

/** Counts of the connections of a process since its start. */
export class ConnectionCounts {
  /** Connections that were admitted. */
  opened = 0;
  /** Connections that were admitted and have closed, by reason. */
  readonly closed: Record<CloseReason, number> = {
    client: 0,
    server: 0,
    slow: 0,
    expired: 0,
    revoked: 0,
    shutdown: 0,
    error: 0,
  };
  /** Clients that were not admitted. */
  readonly turnedAway: Record<TurnAwayReason, number> = {
    capacity: 0,
    limit: 0,
    log: 0,
    revoked: 0,
    shutdown: 0,
    ticket: 0,
  };
  /** How long streams lasted, from the headers to the close. */
  readonly lifetimes = new Durations(LONG_MS);
}
