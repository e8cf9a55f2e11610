import { ConnectionList, joinConnections } from './connection-list.js';
import type { ListMaker } from './list-maker.js';
import { KEYS, NameList, TOPICS } from './name-list.js';
import { PAGE_ROWS } from './protocol.js';
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
import { compareRuns, RunList } from './run-list.js';

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

/** Joins the rows of several instances. Of topics and keys each instance gives those with most. */
export function joinParts(list: ListName, parts: readonly ListPart[]): ListPart {
  const rows = parts.flatMap((part) => part.rows).filter(({ kind }) => kind === list);
  const joined = joinRows(list, rows);
  const total = parts.reduce((sum, part) => sum + part.total, 0);
  const isOfNames = list === 'topics' || list === 'keys';
  return {
    // A name that two instances have is one. So may be names that no row has: then the total is an upper bound.
    total: isOfNames ? total - (rows.length - joined.length) : total,
    rows: joined.slice(0, PAGE_ROWS),
    isCut: parts.some(({ isCut }) => isCut),
  };
}

function joinRows(list: ListName, rows: readonly Row[]): Row[] {
  switch (list) {
    case 'connections':
      return joinConnections(rows as ConnectionRow[]);
    case 'topics':
      return TOPICS.join(rows as TopicRow[]);
    case 'keys':
      return KEYS.join(rows as KeyRow[]);
    case 'runs':
      return (rows as RunRow[]).toSorted(compareRuns);
  }
}
