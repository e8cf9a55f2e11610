import type { InspectedConnection } from '../sse.inspection.js';
import type { ListMaker } from './list-maker.js';
import { comparePlaces, formatPlace, parsePlace, placeOf } from './place.js';
import type { Place } from './place.js';
import { PAGE_ROWS } from './protocol.js';
import type { ConnectionRow, ListPart, ListQuery } from './protocol.js';
import { cut, matcherOf } from './row-text.js';
import { Top } from './top.js';

const SHOWN_NAMES = 3;
const LAST: Place = { value: Infinity, openedAt: Infinity, id: '' };

interface Ranked {
  readonly connection: InspectedConnection;
  readonly place: Place;
}

/** A page of the connections of this process, in the order that is asked for. */
export class ConnectionList implements ListMaker {
  readonly #query: ListQuery;
  readonly #instance: string;
  readonly #matches: (texts: () => readonly string[]) => boolean;
  readonly #after: Place | undefined;
  readonly #top = new Top<Ranked>(PAGE_ROWS, (a, b) => comparePlaces(a.place, b.place));
  #total = 0;

  constructor(query: ListQuery, instance: string) {
    this.#query = query;
    this.#instance = instance;
    this.#matches = matcherOf(query.filter);
    this.#after = parsePlace(query.after);
  }

  addConnection(connection: InspectedConnection): void {
    const { filter, order } = this.#query;
    const isMatch = this.#matches(() => [
      ...connection.keys,
      connection.route,
      connection.address,
      ...(connection.feed?.names ?? []),
      // Asked for only if the filter can be a part of one.
      ...(/^[\da-f-]{8,}$/i.test(filter) ? [connection.id] : []),
    ]);
    if (!isMatch) {
      return;
    }
    this.#total += 1;
    const place = placeOf(connection, order);
    if (!this.#after || comparePlaces(place, this.#after) > 0) {
      this.#top.add({ connection, place });
    }
  }

  addRun(): void {
    return;
  }

  make(): ListPart {
    const now = Math.round(performance.timeOrigin) + performance.now();
    const rows = this.#top.values.map(({ connection, place }): ConnectionRow => {
      const { id, keys, route, address, openedAt, queuedBytes, feed } = connection;
      return {
        kind: 'connections',
        instance: this.#instance,
        id,
        // Whole: a key is revoked by what stands here.
        keys: keys.slice(0, SHOWN_NAMES),
        route: cut(route),
        address: cut(address),
        ageMs: openedAt === undefined ? 0 : Math.max(0, Math.round(now - openedAt)),
        queuedBytes,
        follows: (feed?.names ?? []).slice(0, SHOWN_NAMES).map(cut),
        names: feed?.names.length ?? 0,
        isBehind: feed?.isBehind ?? false,
        lagEvents: feed?.lagEvents ?? 0,
        place: formatPlace(place),
      };
    });
    return { total: this.#total, rows, isCut: false };
  }
}

/** Joins the pages of several instances. */
export function joinConnections(rows: readonly ConnectionRow[]): ConnectionRow[] {
  return rows.toSorted((a, b) => comparePlaces(parsePlace(a.place) ?? LAST, parsePlace(b.place) ?? LAST));
}
