import { OptionChecks } from './errors/index.js';
import { areKeys } from './limits/index.js';
import type { TicketSettings } from './trust/index.js';

/** Options of tickets. */
export interface SseTicketOptions {
  /**
   * The secret that signs tickets, the same on all instances: 32 characters or more. Of a list, the first signs and all
   * verify. To replace a secret, append the new one on all instances, then put it first, then remove the old one.
   */
  secret: string | readonly string[];
  /**
   * Milliseconds within which a ticket opens a stream. 1_000 to 3_600_000.
   * @defaultValue 30_000
   */
  ttlMs?: number;
}

/**
 * Checks the options of tickets.
 *
 * @returns undefined if the app has none
 * @throws SseError `options-invalid`
 */
export function ticketSettings(tickets: SseTicketOptions | undefined): TicketSettings | undefined {
  if (tickets === undefined) {
    return undefined;
  }
  if (typeof tickets !== 'object' || tickets === null) {
    throw checks.refusal('tickets', 'an object', tickets);
  }
  checks.refuseUnknown(tickets, TICKETS_FIELDS, 'tickets');
  const secrets: readonly unknown[] = [tickets.secret].flat();
  // Without the value: it would stand in a log.
  if (secrets.length === 0 || !secrets.every(isSecret)) {
    throw checks.invalid(
      `tickets.secret must be a text of ${LEAST_SECRET} characters or more, or a list of such texts. ` +
        'Make one with: openssl rand -base64 32',
      'tickets.secret',
    );
  }
  const ttlMs = checks.timer('tickets.ttlMs', tickets.ttlMs, 30_000, 1_000);
  if (ttlMs > MAX_TICKET_MS) {
    throw checks.refusal('tickets.ttlMs', `a number of milliseconds from 1000 to ${MAX_TICKET_MS}`, ttlMs);
  }
  return { secrets, ttlMs };
}

/**
 * Checks what `revoke` is given.
 *
 * @returns the milliseconds for which the key is revoked
 * @throws SseError `options-invalid`
 */
export function revocationOf(key: unknown, options: { forMs?: number }): number {
  // Without the value: it may be the id of a session.
  if (!areKeys([key])) {
    throw checks.invalid('revoke(key) takes a key: a string of 1 to 512 characters.', 'key');
  }
  checks.refuseUnknown(options, ['forMs'], 'revoke()');
  return checks.timer('forMs', options.forMs, DAY_MS);
}

function isSecret(value: unknown): value is string {
  return typeof value === 'string' && value.length >= LEAST_SECRET;
}

const checks = new OptionChecks();
const TICKETS_FIELDS = ['secret', 'ttlMs'];
const DAY_MS = 86_400_000;
const LEAST_SECRET = 32;
const MAX_TICKET_MS = 3_600_000;
