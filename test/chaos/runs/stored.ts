import type { RunPlan, RunsHistory, SavedEnd, StoredRecord, StoredRun } from './history.js';
import { hasWordOfEnd, readEvent } from './tokens.js';
import type { Token } from './tokens.js';

/** How a run ended, as its log says. */
export interface StoredEnd {
  readonly reason: SavedEnd['reason'];
  readonly events: number;
  readonly bytes: number;
  readonly at: number;
}

/** The end in a log; undefined where it has none. */
export function endOf({ records }: StoredRun): StoredEnd | undefined {
  const end = records.find(({ kind }) => kind === 'end');
  return end && { ...(JSON.parse(end.data) as StoredEnd), at: end.at };
}

/** A run as it was each time that an old copy of its log came back, and as it is. */
export function livesOf(run: StoredRun): StoredRun[] {
  return [...run.past.map((records) => ({ ...run, records, past: [] })), run];
}

/** Whether an old copy of the logs has nothing of it, and only what others have said of it since. */
export function isOfNoRun({ records, past }: StoredRun): boolean {
  return past.length > 0 && records.every(({ kind }) => ['here', 'gone', 'stop', 'settled'].includes(kind));
}

/** The runs, by the producer of their tokens. */
export function runsByProducer({ stored, plans }: RunsHistory): Map<string, StoredRun> {
  return new Map(
    stored.flatMap((run) => tokensIn(plans, run).map(({ producer }) => [producer, run] as const)),
  );
}

/** Whether it was stopped on purpose, which a run without a format has no word for. */
export function isQuiet(format: RunPlan['format'], { reason }: StoredEnd): boolean {
  return !hasWordOfEnd(format) && ['stop', 'client', 'orphan'].includes(reason);
}

/** The producers that have taken a run over: those of the first tokens after its log says so. */
export function takersOf(plans: RunsHistory['plans'], run: StoredRun): Set<string> {
  const taken = run.records.flatMap(({ kind }, at) => (kind === 'taken-over' ? [at] : []));
  return new Set(
    taken.flatMap((at) => tokensIn(plans, { ...run, records: run.records.slice(at) })[0]?.producer ?? []),
  );
}

/** @param takers - the producers that may follow another one */
export function faultsOfTokens(
  what: string,
  tokens: readonly Token[],
  id: string,
  takers: ReadonlySet<string> = new Set(),
): string[] {
  const faults: string[] = [];
  const [first] = tokens;
  for (const [due, { run, turn, producer, index }] of tokens.entries()) {
    const before = tokens[due - 1]?.producer ?? producer;
    if (run !== id) {
      faults.push(`${what} has a token of ${run}.`);
    }
    if ((producer !== before && !takers.has(producer)) || turn !== first!.turn) {
      faults.push(`${what} has tokens of two producers, ${before} and ${producer}.`);
    }
    if (index !== due) {
      faults.push(`${what} has the token ${index} where ${due} is due.`);
    }
    if (faults.length > 0) {
      break;
    }
  }
  return faults;
}

export const isOfClients = ({ kind }: StoredRecord) => kind === 'item' || kind === 'last';

export function tokensIn(plans: RunsHistory['plans'], run: StoredRun): Token[] {
  return run.records.flatMap((record) => {
    if (record.kind !== 'item') {
      return [];
    }
    const read = readEvent(formatIn(plans, run.id), record);
    return 'token' in read ? [read.token] : [];
  });
}

export function wordIn(plans: RunsHistory['plans'], id: string, record: StoredRecord): string {
  const read = readEvent(formatIn(plans, id), record);
  return 'word' in read ? read.word : 'a token';
}

export function formatIn(plans: RunsHistory['plans'], id: string): RunPlan['format'] {
  return plans.get(id)![0]!.format;
}

export function planOf(
  plans: RunsHistory['plans'],
  id: string,
  turn: number | undefined,
): RunPlan | undefined {
  const turns = plans.get(id) ?? [];
  // Of one that has made nothing it is not known which one it is.
  return turn === undefined
    ? turns.length === 1
      ? turns[0]
      : undefined
    : turns.find((plan) => plan.turn === turn);
}
