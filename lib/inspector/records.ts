import type { NewRecord } from '../log/index.js';
import { COUNTS, FIGURES, LISTS, MAX_TEXT, ORDERS, PAGE_ROWS } from './protocol.js';
import type { Figures, InstanceReport, ListPart, ListQuery, Row } from './protocol.js';

/**
 * A record in the log of the inspector. `by` is the instance that has written it.
 *
 * - `watch`: pages on the instance look at these lists, by the names of their views. None: no page is open there.
 * - `report`: how the instance stands, for the pages of all others.
 * - `list`: its rows of a list that a page on the instance `to` looks at.
 * - `close`: the instance `to` is to close one of its connections; `closed`: whether it had it.
 */
export type InspectorRecord =
  | {
      readonly kind: 'watch';
      readonly by: string;
      readonly views: ReadonlyMap<string, ListQuery | undefined>;
    }
  | { readonly kind: 'report'; readonly by: string; readonly report: InstanceReport }
  | {
      readonly kind: 'list';
      readonly by: string;
      readonly to: string;
      readonly view: string;
      readonly part: ListPart;
    }
  | {
      readonly kind: 'close';
      readonly by: string;
      readonly to: string;
      readonly request: string;
      readonly connection: string;
    }
  | {
      readonly kind: 'closed';
      readonly by: string;
      readonly to: string;
      readonly request: string;
      readonly wasOpen: boolean;
    };

/** The most views of one instance. */
export const MAX_VIEWS = 50;

const MAX_RECORD = 262_144;
const MAX_KEY = 512;
const MAX_NAME = 4_096;
const MAX_COUNTS = 40;

export function watchRecord(by: string, views: ReadonlyMap<string, ListQuery | undefined>): NewRecord {
  return record('watch', [by, Array.from(views, ([view, query]) => [view, query ?? null])]);
}

export function reportRecord(by: string, report: InstanceReport): NewRecord {
  return record('report', [by, report]);
}

export function listRecord(by: string, to: string, view: string, part: ListPart): NewRecord {
  return record('list', [by, to, view, part]);
}

export function closeRecord(by: string, to: string, request: string, connection: string): NewRecord {
  return record('close', [by, to, request, connection]);
}

export function closedRecord(by: string, to: string, request: string, wasOpen: boolean): NewRecord {
  return record('closed', [by, to, request, wasOpen]);
}

function record(kind: InspectorRecord['kind'], content: readonly unknown[]): NewRecord {
  return { topic: kind, data: JSON.stringify(content), isJson: true };
}

/**
 * Reads a record. Another program, or another version, may have written it: what has a wrong kind is left out, or is
 * nothing.
 *
 * @returns undefined if it is no record of the inspector
 */
export function readRecord({
  topic: kind,
  data,
}: {
  topic: string;
  data: string;
}): InspectorRecord | undefined {
  if (data.length > MAX_RECORD) {
    return undefined;
  }
  const [by, ...rest] = listOf(parse(data));
  if (!isName(by)) {
    return undefined;
  }
  const [to, third, fourth] = rest;
  switch (kind) {
    case 'watch':
      return { kind, by, views: viewsOf(to) };
    case 'report':
      return { kind, by, report: readReport(to, by) };
    case 'list':
      return isName(to) && isName(third)
        ? { kind, by, to, view: third, part: readPart(fourth, by) }
        : undefined;
    case 'close':
      return isName(to) && isName(third) && isName(fourth)
        ? { kind, by, to, request: third, connection: fourth }
        : undefined;
    case 'closed':
      return isName(to) && isName(third)
        ? { kind, by, to, request: third, wasOpen: fourth === true }
        : undefined;
    default:
      return undefined;
  }
}

/** Reads a list that is asked for, by a page or another instance; undefined if it is none. */
export function readQuery(value: unknown): ListQuery | undefined {
  const { list, filter, order, after } = fieldsOf(value);
  const known = LISTS.find((name) => name === list);
  return (
    known && {
      list: known,
      filter: textOf(filter, MAX_TEXT),
      order: ORDERS.find((name) => name === order) ?? 'newest',
      after: textOf(after, MAX_TEXT),
    }
  );
}

function viewsOf(value: unknown): Map<string, ListQuery | undefined> {
  const views = new Map<string, ListQuery | undefined>();
  for (const entry of listOf(value).slice(0, MAX_VIEWS)) {
    const [view, query] = listOf(entry);
    if (isName(view)) {
      views.set(view, readQuery(query));
    }
  }
  return views;
}

function readReport(value: unknown, id: string): InstanceReport {
  const { name, log, isDraining, figures, counts } = fieldsOf(value);
  const { state, reason, sinceMs } = fieldsOf(log);
  const given = fieldsOf(figures);
  const groups = fieldsOf(counts);
  return {
    id,
    name: textOf(name, MAX_TEXT),
    log: { state: textOf(state, MAX_TEXT), reason: textOf(reason, MAX_NAME), sinceMs: numberOf(sinceMs) },
    isDraining: isDraining === true,
    figures: Object.fromEntries(FIGURES.map((figure) => [figure, numberOf(given[figure])])),
    counts: Object.fromEntries(COUNTS.map((group) => [group, readCounts(groups[group])])),
  };
}

function readCounts(value: unknown): Figures {
  const entries = Object.entries(fieldsOf(value)).slice(0, MAX_COUNTS);
  return Object.fromEntries(
    entries
      .filter(([name]) => /^\w{1,40}$/.test(name) && name !== '__proto__')
      .map(([name, count]) => [name, numberOf(count)]),
  );
}

function readPart(value: unknown, by: string): ListPart {
  const { total, rows, isCut } = fieldsOf(value);
  return {
    total: numberOf(total),
    rows: listOf(rows)
      .slice(0, PAGE_ROWS)
      .flatMap((row) => readRow(fieldsOf(row), by) ?? []),
    isCut: isCut === true,
  };
}

function readRow(row: Readonly<Record<string, unknown>>, instance: string): Row | undefined {
  switch (row['kind']) {
    case 'connections':
      return {
        kind: 'connections',
        instance,
        id: textOf(row['id'], MAX_TEXT),
        keys: textsOf(row['keys']),
        route: textOf(row['route'], MAX_NAME),
        address: textOf(row['address'], MAX_NAME),
        ageMs: numberOf(row['ageMs']),
        queuedBytes: numberOf(row['queuedBytes']),
        follows: textsOf(row['follows']),
        names: numberOf(row['names']),
        isBehind: row['isBehind'] === true,
        lagEvents: numberOf(row['lagEvents']),
        place: textOf(row['place'], MAX_TEXT),
      };
    case 'topics':
      return {
        kind: 'topics',
        name: textOf(row['name'], MAX_NAME),
        followers: numberOf(row['followers']),
        behind: numberOf(row['behind']),
        maxLagEvents: numberOf(row['maxLagEvents']),
      };
    case 'keys':
      return {
        kind: 'keys',
        key: textOf(row['key'], MAX_KEY),
        connections: numberOf(row['connections']),
        behind: numberOf(row['behind']),
        runs: numberOf(row['runs']),
      };
    case 'runs':
      return {
        kind: 'runs',
        instance,
        id: textOf(row['id'], MAX_NAME),
        owner: textOf(row['owner'], MAX_NAME),
        isProducedHere: row['isProducedHere'] === true,
        clients: numberOf(row['clients']),
        records: numberOf(row['records']),
        ageMs: numberOf(row['ageMs']),
      };
    default:
      return undefined;
  }
}

function isName(value: unknown): value is string {
  return typeof value === 'string' && /^[\w-]{1,64}$/.test(value);
}

function textOf(value: unknown, most: number): string {
  return typeof value === 'string' ? value.slice(0, most + 1) : '';
}

function textsOf(value: unknown): string[] {
  return listOf(value)
    .slice(0, 3)
    .map((text) => textOf(text, MAX_KEY));
}

function numberOf(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) ? value : 0;
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? (value as unknown[]) : [];
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
