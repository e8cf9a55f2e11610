/**
 * An event's place in a log, and its SSE id: `<epoch>-<sequence>-<nonce>`. Opaque to clients: keep
 * it, compare it for equality, hand it back.
 */
export type Position = string;

/** What a position is made of. Each part names the failure that it makes visible. */
export interface PositionParts {
  /** Of the log's whole life: a log that was lost and begun anew has another one. */
  readonly epoch: string;
  /** Contiguous from 1; 0 is the place before the first event. */
  readonly sequence: number;
  /**
   * Random, of this event alone. After a failover that lost what it had acknowledged, other events
   * carry the same sequences in the same epoch, and nothing but the nonce tells them apart.
   */
  readonly nonce: string;
}

/** The nonce of the place before the first event. */
export const NO_NONCE = '00000000';

// Sequences stay exact as numbers: at a million events a second, 2^53 lasts 285 years.
const POSITION = /^([0-9a-z]{1,32})-(0|[1-9][0-9]{0,15})-([0-9a-f]{8})$/;

export function formatPosition({ epoch, sequence, nonce }: PositionParts): Position {
  return `${epoch}-${sequence}-${nonce}`;
}

/** Undefined for whatever is no position: an id from elsewhere, one cut short, one that was made up. */
export function parsePosition(id: string): PositionParts | undefined {
  const [, epoch, digits, nonce] = POSITION.exec(id) ?? [];
  const sequence = Number(digits);
  if (epoch === undefined || nonce === undefined || !Number.isSafeInteger(sequence)) {
    return undefined;
  }
  return { epoch, sequence, nonce };
}
