import type { InspectedConnection } from '../sse.inspection.js';
import type { Order } from './protocol.js';
import { compareText } from './row-text.js';

/** The place of a connection in an order of all instances' connections. Lower ones come first. */
export interface Place {
  readonly value: number;
  readonly openedAt: number;
  readonly id: string;
}

/**
 * Returns the place of a connection. Its id is asked for only if two are equal in all else: most connections have none
 * yet.
 */
export function placeOf(connection: InspectedConnection, order: Order): Place {
  const { openedAt = Number.MAX_SAFE_INTEGER, feed, queuedBytes } = connection;
  const value = {
    newest: () => -openedAt,
    oldest: () => openedAt,
    behind: () => -(feed?.lagEvents ?? 0),
    waiting: () => -queuedBytes,
  }[order]();
  return {
    value,
    openedAt,
    get id() {
      return connection.id;
    },
  };
}

export function comparePlaces(a: Place, b: Place): number {
  const difference = a.value - b.value || a.openedAt - b.openedAt;
  if (difference !== 0) {
    return difference;
  }
  return compareText(a.id, b.id);
}

export function formatPlace({ value, openedAt, id }: Place): string {
  return `${value}_${openedAt}_${id}`;
}

/** Reads a place; undefined for any other text, and for the empty one. */
export function parsePlace(text: string): Place | undefined {
  const [, value, openedAt, id] = /^(-?\d{1,16})_(\d{1,16})_([\w-]{1,64})$/.exec(text) ?? [];
  return id === undefined ? undefined : { value: Number(value), openedAt: Number(openedAt), id };
}
