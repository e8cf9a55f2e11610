/**
 * An event's place in a log, and its SSE id: `<epoch>-<sequence>-<nonce>`. It is opaque: keep it, compare it for
 * equality, send it back.
 */
export type Position = string;

/** The parts of a position. Each part makes one failure visible. */
export interface PositionParts {
  /** The same for the lifetime of a log. A log that was lost and begun anew has another epoch. */
  readonly epoch: string;
  /** Counts from 1 without a gap; 0 is the place before the first event. */
  readonly sequence: number;
  /**
   * Random for each event. After a failover that lost acknowledged events, other events have the same sequences in the
   * same epoch: only the nonce tells them apart.
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

/** Parses a position; undefined for any other id, such as one that was cut short. */
export function parsePosition(id: string): PositionParts | undefined {
  const [, epoch, digits, nonce] = POSITION.exec(id) ?? [];
  const sequence = Number(digits);
  if (epoch === undefined || nonce === undefined || !Number.isSafeInteger(sequence)) {
    return undefined;
  }
  return { epoch, sequence, nonce };
}
