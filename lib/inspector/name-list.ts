import type { InspectedConnection, InspectedRun } from '../sse.inspection.js';
import type { ListMaker } from './list-maker.js';
import { PAGE_ROWS } from './protocol.js';
import type { KeyRow, ListPart, TopicRow } from './protocol.js';
import { compareText, matcherOf } from './row-text.js';
import { Top } from './top.js';

// Bounds the memory of a list. Names that come after are not counted, and the list says so.
const MAX_NAMES = 20_000;

/** The topics, or the keys, of this process with the most connections. */
export class NameList<R extends TopicRow | KeyRow> implements ListMaker {
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

export const TOPICS: NameKind<TopicRow> = {
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

export const KEYS: NameKind<KeyRow> = {
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
