import type { InspectedConnection, InspectedRun } from '../sse.inspection.js';
import { comparePlaces, formatPlace, parsePlace, placeOf } from './place.js';
import type { Place } from './place.js';
import { MAX_TEXT, PAGE_ROWS } from './protocol.js';
import type {
  ConnectionRow,
  KeyRow,
  ListName,
  ListPart,
  ListQuery,
  Row,
  RunRow,
  TopicRow,
} from './protocol.js';
import { Top } from './top.js';

/** A list of this process while it is made. */
export interface ListMaker {
  addConnection(connection: InspectedConnection): void;
  addRun(run: InspectedRun): void;
  make(): ListPart;
}

// Bounds the memory of a list. Names that come after are not counted, and the list says so.
const MAX_NAMES = 20_000;
const SHOWN_NAMES = 3;

/** @param instance - the id of this instance */
export function listMaker(query: ListQuery, instance: string): ListMaker {
  const makers: Record<ListName, () => ListMaker> = {
    connections: () => new ConnectionList(query, instance),
    topics: () => new NameList(query.filter, TOPICS),
    keys: () => new NameList(query.filter, KEYS),
    runs: () => new RunList(query.filter, instance),
  };
  return makers[query.list]();
}

/** Joins the rows of several instances. Of topics and keys each instance tells those of which it has most. */
export function joinParts(list: ListName, parts: readonly ListPart[]): ListPart {
  const rows = parts.flatMap((part) => part.rows).filter(({ kind }) => kind === list);
  const joined = joinRows(list, rows);
  const total = parts.reduce((sum, part) => sum + part.total, 0);
  const isOfNames = list === 'topics' || list === 'keys';
  return {
    // A name that two instances have is one. Those that are not told may be as well: then it is at most so many.
    total: isOfNames ? total - (rows.length - joined.length) : total,
    rows: joined.slice(0, PAGE_ROWS),
    isCut: parts.some(({ isCut }) => isCut),
  };
}

function joinRows(list: ListName, rows: readonly Row[]): Row[] {
  switch (list) {
    case 'connections':
      return (rows as ConnectionRow[]).sort((a, b) =>
        comparePlaces(parsePlace(a.place) ?? LAST, parsePlace(b.place) ?? LAST),
      );
    case 'topics':
      return TOPICS.join(rows as TopicRow[]);
    case 'keys':
      return KEYS.join(rows as KeyRow[]);
    case 'runs':
      return (rows as RunRow[]).sort(compareRuns);
  }
}

const LAST: Place = { value: Infinity, openedAt: Infinity, id: '' };

interface Ranked {
  readonly connection: InspectedConnection;
  readonly place: Place;
}

class ConnectionList implements ListMaker {
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

/** Rows that are counted by a name. */
interface NameKind<R extends TopicRow | KeyRow> {
  /** The names that a connection counts for. */
  namesOf(connection: InspectedConnection): readonly string[];
  /** The name that a run counts for. */
  nameOf(run: InspectedRun): string | undefined;
  first(name: string): Mutable<R>;
  add(row: Mutable<R>, connection: InspectedConnection): void;
  addRun(row: Mutable<R>): void;
  join(rows: readonly R[]): R[];
  compare(a: R, b: R): number;
}

type Mutable<T> = { -readonly [Field in keyof T]: T[Field] };

const TOPICS: NameKind<TopicRow> = {
  namesOf: ({ feed }) => (feed?.kind === 'topics' ? feed.names : []),
  nameOf: () => undefined,
  first: (name) => ({ kind: 'topics', name, followers: 0, behind: 0, maxLagEvents: 0 }),
  add: (row, { feed }) => {
    row.followers += 1;
    row.behind += feed?.isBehind ? 1 : 0;
    row.maxLagEvents = Math.max(row.maxLagEvents, feed?.lagEvents ?? 0);
  },
  addRun: () => undefined,
  join: (rows) =>
    joinNamed(
      rows,
      ({ name }) => name,
      (sum, row) => {
        sum.followers += row.followers;
        sum.behind += row.behind;
        sum.maxLagEvents = Math.max(sum.maxLagEvents, row.maxLagEvents);
      },
    ).sort((a, b) => TOPICS.compare(a, b)),
  compare: (a, b) => b.followers - a.followers || compareText(a.name, b.name),
};

const KEYS: NameKind<KeyRow> = {
  namesOf: ({ keys }) => keys,
  nameOf: ({ owner, isProducedHere }) => (isProducedHere ? owner : undefined),
  first: (key) => ({ kind: 'keys', key, connections: 0, behind: 0, runs: 0 }),
  add: (row, { feed }) => {
    row.connections += 1;
    row.behind += feed?.isBehind ? 1 : 0;
  },
  addRun: (row) => {
    row.runs += 1;
  },
  join: (rows) =>
    joinNamed(
      rows,
      ({ key }) => key,
      (sum, row) => {
        sum.connections += row.connections;
        sum.behind += row.behind;
        sum.runs += row.runs;
      },
    ).sort((a, b) => KEYS.compare(a, b)),
  compare: (a, b) => b.connections - a.connections || b.runs - a.runs || compareText(a.key, b.key),
};

class NameList<R extends TopicRow | KeyRow> implements ListMaker {
  readonly #kind: NameKind<R>;
  readonly #matches: (texts: () => readonly string[]) => boolean;
  readonly #rows = new Map<string, Mutable<R>>();
  #isCut = false;

  constructor(filter: string, kind: NameKind<R>) {
    this.#kind = kind;
    this.#matches = matcherOf(filter);
  }

  addConnection(connection: InspectedConnection): void {
    for (const name of this.#kind.namesOf(connection)) {
      const row = this.#rowOf(name);
      if (row) {
        this.#kind.add(row, connection);
      }
    }
  }

  addRun(run: InspectedRun): void {
    const name = this.#kind.nameOf(run);
    const row = name === undefined ? undefined : this.#rowOf(name);
    if (row) {
      this.#kind.addRun(row);
    }
  }

  make(): ListPart {
    const top = new Top<R>(PAGE_ROWS, (a, b) => this.#kind.compare(a, b));
    for (const row of this.#rows.values()) {
      top.add(row);
    }
    return { total: this.#rows.size, rows: top.values, isCut: this.#isCut };
  }

  #rowOf(name: string): Mutable<R> | undefined {
    const known = this.#rows.get(name);
    if (known || !this.#matches(() => [name])) {
      return known;
    }
    if (this.#rows.size >= MAX_NAMES) {
      this.#isCut = true;
      return undefined;
    }
    const row = this.#kind.first(name);
    this.#rows.set(name, row);
    return row;
  }
}

class RunList implements ListMaker {
  readonly #instance: string;
  readonly #matches: (texts: () => readonly string[]) => boolean;
  readonly #top = new Top<RunRow>(PAGE_ROWS, compareRuns);
  #total = 0;

  constructor(filter: string, instance: string) {
    this.#instance = instance;
    this.#matches = matcherOf(filter);
  }

  addConnection(): void {
    return;
  }

  addRun({ id, owner = '', isProducedHere, clients, records, startedAt }: InspectedRun): void {
    if (!this.#matches(() => [id, owner])) {
      return;
    }
    this.#total += 1;
    this.#top.add({
      kind: 'runs',
      instance: this.#instance,
      id: cut(id),
      owner: cut(owner),
      isProducedHere,
      clients,
      records,
      ageMs: Math.max(0, Date.now() - startedAt),
    });
  }

  make(): ListPart {
    return { total: this.#total, rows: this.#top.values, isCut: false };
  }
}

function compareRuns(a: RunRow, b: RunRow): number {
  return a.ageMs - b.ageMs || compareText(a.id, b.id);
}

function joinNamed<R extends TopicRow | KeyRow>(
  rows: readonly R[],
  nameOf: (row: R) => string,
  add: (sum: Mutable<R>, row: R) => void,
): R[] {
  const sums = new Map<string, Mutable<R>>();
  for (const row of rows) {
    const sum = sums.get(nameOf(row));
    if (sum) {
      add(sum, row);
    } else {
      sums.set(nameOf(row), { ...row });
    }
  }
  return [...sums.values()] as R[];
}

/** Returns a check whether one of some texts has the filter in it. The texts are asked for only if there is one. */
function matcherOf(filter: string): (texts: () => readonly string[]) => boolean {
  const wanted = filter.toLowerCase();
  return (texts) => wanted === '' || texts().some((text) => text.toLowerCase().includes(wanted));
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}

function cut(text: string): string {
  return text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}…` : text;
}
