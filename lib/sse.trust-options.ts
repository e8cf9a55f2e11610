import { OptionChecks } from './errors/index.js';
import { areKeys } from './limits/index.js';
import type { SseConnection } from './connection/index.js';
import type { RevalidationSettings, TicketSettings } from './trust/index.js';

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

/** Options of the revalidation of connections. */
export interface SseRevalidateOptions {
  /** Milliseconds between two checks of a connection, about. 100 to 2_147_483_647. */
  everyMs: number;
  /**
   * Returns whether a connection may stay; any value but `true`, or a promise of it, means no. It runs in the async
   * context of the client's request: `AsyncLocalStorage` holds that client's own user.
   */
  check: (connection: SseConnection) => boolean | Promise<boolean>;
  /**
   * Milliseconds that a connection stays open beyond `everyMs` while checks fail, or are late. After that it closes as
   * `expired`. 0 to 2_147_483_647.
   * @defaultValue as `everyMs`
   */
  graceMs?: number;
  /**
   * Checks that are pending at once, in this process. At least 1.
   * @defaultValue 50
   */
  maxConcurrent?: number;
}

/**
 * Checks the options of the revalidation.
 *
 * @returns undefined if connections are not checked again
 * @throws SseError `options-invalid`
 */
export function revalidationSettings(
  revalidate: SseRevalidateOptions | undefined,
): RevalidationSettings | undefined {
  if (revalidate === undefined) {
    return undefined;
  }
  if (typeof revalidate !== 'object' || revalidate === null) {
    throw checks.refusal('revalidate', 'an object', revalidate);
  }
  checks.refuseUnknown(revalidate, REVALIDATE_FIELDS, 'revalidate');
  const { everyMs, check, graceMs, maxConcurrent } = revalidate;
  const every = checks.timer('revalidate.everyMs', everyMs, Number.NaN, 100);
  if (Number.isNaN(every) || check === undefined) {
    throw checks.invalid('revalidate takes everyMs, in milliseconds, and check, a function.', 'revalidate');
  }
  return {
    everyMs: every,
    check: checks.callable('revalidate.check', check, 'a function (connection) => boolean'),
    graceMs: checks.timer('revalidate.graceMs', graceMs, every, 0),
    maxConcurrent: checks.atLeast('revalidate.maxConcurrent', maxConcurrent, 50),
  };
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
const REVALIDATE_FIELDS = ['everyMs', 'check', 'graceMs', 'maxConcurrent'];
const TICKETS_FIELDS = ['secret', 'ttlMs'];
const DAY_MS = 86_400_000;
const LEAST_SECRET = 32;
const MAX_TICKET_MS = 3_600_000;
