import { createHmac, timingSafeEqual } from 'node:crypto';

/** The content of a ticket. */
export interface TicketContent {
  /** 16 random bytes as base64url. It is no secret: the signature is. */
  readonly id: string;
  /** To whom it was issued. */
  readonly keys: readonly string[];
  /** When it was issued, in milliseconds since 1970, by the issuer's clock. */
  readonly issuedAt: number;
  /** When it stops opening streams, in milliseconds since 1970. */
  readonly expiresAt: number;
  /** The app's own value, as JSON reads it. */
  readonly data: unknown;
}

/** The most characters of a ticket. Servers refuse URLs of more than 8,000 to 16,000 bytes. */
export const MAX_TICKET_LENGTH = 4_096;

// Signed with the payload, so that a signature of the app's own with the same secret is never a ticket.
const PURPOSE = 'nestjs-event-stream ticket 1\n';
// A payload, and the 32 bytes of a signature, both as base64url.
const TICKET = /^([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{43})$/;

/** Signs tickets with HMAC-SHA-256. The first secret signs, and all of them verify. */
export class TicketSigner {
  readonly #secrets: readonly string[];

  constructor(secrets: readonly string[]) {
    this.#secrets = secrets;
  }

  sign({ id, keys, issuedAt, expiresAt, data }: TicketContent): string {
    // JSON has no undefined: a ticket without data has a list of four.
    const content =
      data === undefined ? [id, keys, issuedAt, expiresAt] : [id, keys, issuedAt, expiresAt, data];
    const payload = Buffer.from(JSON.stringify(content)).toString('base64url');
    return `${payload}.${macOf(payload, this.#secrets[0]!).toString('base64url')}`;
  }

  /** Reads a ticket. @returns undefined unless one of the secrets has signed it */
  read(ticket: string): TicketContent | undefined {
    const [, payload, signature] = (ticket.length <= MAX_TICKET_LENGTH && TICKET.exec(ticket)) || [];
    if (payload === undefined || signature === undefined) {
      return undefined;
    }
    const given = Buffer.from(signature, 'base64url');
    // Each secret is tried, so that the time does not tell which of them has signed.
    const isAuthentic =
      this.#secrets.filter((secret) => timingSafeEqual(macOf(payload, secret), given)).length > 0;
    return isAuthentic ? contentOf(payload) : undefined;
  }
}

function macOf(payload: string, secret: string): Buffer {
  return createHmac('sha256', secret).update(PURPOSE).update(payload).digest();
}

/** Reads a payload that this package has signed. */
function contentOf(payload: string): TicketContent {
  const [id, keys, issuedAt, expiresAt, data] = JSON.parse(Buffer.from(payload, 'base64url').toString()) as [
    string,
    string[],
    number,
    number,
    unknown,
  ];
  return { id, keys, issuedAt, expiresAt, data };
}
