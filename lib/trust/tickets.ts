import { randomBytes } from 'node:crypto';
import { RepeatedReport, show, SseError } from '../errors/index.js';
import type { Reporter } from '../errors/index.js';
import type { EventLogStore } from '../log/index.js';
import { MAX_TICKET_LENGTH, TicketSigner } from './ticket-signer.js';
import type { TicketContent } from './ticket-signer.js';

/** Checked settings of tickets. */
export interface TicketSettings {
  /** The first signs, and all verify. */
  readonly secrets: readonly string[];
  readonly ttlMs: number;
}

/**
 * What a presented ticket is:
 *
 * - its content, if it has opened now, for the first time;
 * - `spent` if it is authentic, and opens nothing: it was redeemed, has expired, or the log cannot tell;
 * - `invalid` if none of the secrets has signed it.
 */
export type TicketOutcome = TicketContent | 'spent' | 'invalid';

/** Counts of tickets since the start. Those that were presented are counted by outcome. */
export interface TicketCounts {
  issued: number;
  opened: number;
  spent: number;
  invalid: number;
}

// The clocks of two instances may differ by this much: a ticket that has expired here may still be valid there.
const CLOCK_SKEW_MS = 60_000;

/** Issues tickets, and redeems each of them once on all instances that share the log. */
export class Tickets {
  readonly counts: TicketCounts = { issued: 0, opened: 0, spent: 0, invalid: 0 };
  readonly #signer: TicketSigner;
  readonly #ttlMs: number;
  readonly #store: EventLogStore;
  readonly #reports: RepeatedReport;
  readonly #startedAt = Date.now();

  constructor(store: EventLogStore, { secrets, ttlMs }: TicketSettings, reporter: Reporter) {
    this.#signer = new TicketSigner(secrets);
    this.#ttlMs = ttlMs;
    this.#store = store;
    this.#reports = new RepeatedReport(reporter);
  }

  /**
   * Issues a ticket.
   *
   * @throws SseError `options-invalid` for data that is no JSON, or a ticket that is too long for a URL
   */
  issue(keys: readonly string[], data: unknown): string {
    const ticket = this.#sign(keys, data);
    this.counts.issued += 1;
    return ticket;
  }

  #sign(keys: readonly string[], data: unknown): string {
    const issuedAt = Date.now();
    const id = randomBytes(16).toString('base64url');
    const ticket = this.#signer.sign({
      id,
      keys,
      issuedAt,
      expiresAt: issuedAt + this.#ttlMs,
      data: jsonOf(data),
    });
    if (ticket.length > MAX_TICKET_LENGTH) {
      throw new SseError(
        'options-invalid',
        `The ticket would have ${ticket.length} characters, and may have ${MAX_TICKET_LENGTH}: it is part of a URL. ` +
          'Put an id into "data", and look the rest up when the stream opens.',
        { field: 'data' },
      );
    }
    return ticket;
  }

  /** Redeems a ticket. It never rejects: while the log is away, each authentic ticket counts as spent. */
  async redeem(text: string): Promise<TicketOutcome> {
    const outcome = await this.#redeem(text);
    this.counts[typeof outcome === 'string' ? outcome : 'opened'] += 1;
    return outcome;
  }

  async #redeem(text: string): Promise<TicketOutcome> {
    const ticket = this.#signer.read(text);
    if (!ticket) {
      return 'invalid';
    }
    const leftMs = ticket.expiresAt - Date.now();
    // A log in memory has forgotten what the process before this one has redeemed.
    const isForgotten = !this.#store.isShared && ticket.issuedAt < this.#startedAt;
    if (leftMs <= 0 || isForgotten) {
      return 'spent';
    }
    try {
      const isFirst = await this.#store.claim(`ticket:${ticket.id}`, { ttlMs: leftMs + CLOCK_SKEW_MS });
      return isFirst ? ticket : 'spent';
    } catch (error) {
      this.#reports.error(
        'redeem',
        'Tickets open no stream at the moment, because the log cannot say whether they were used before.',
        error,
      );
      return 'spent';
    }
  }
}

/** Returns a value as JSON reads it: what the issuer passes is what the guard's app gets. */
function jsonOf(data: unknown): unknown {
  try {
    const text = JSON.stringify(data) as string | undefined;
    if (text !== undefined || data === undefined) {
      return text === undefined ? undefined : (JSON.parse(text) as unknown);
    }
  } catch (error) {
    throw refusalOf(data, error);
  }
  throw refusalOf(data);
}

function refusalOf(data: unknown, cause?: unknown): SseError {
  return new SseError('options-invalid', `"data" of a ticket must be JSON, got ${show(data)}.`, {
    cause,
    field: 'data',
  });
}
