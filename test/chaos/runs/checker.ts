import { parsePosition } from '../../../lib/wire/index.js';
import type {
  ProcessRecord,
  Report,
  RunPlan,
  RunsHistory,
  SavedEnd,
  StopCall,
  StoredRun,
} from './history.js';
import { PageCheck } from './page-check.js';
import {
  endOf,
  faultsOfTokens,
  formatIn,
  isOfNoRun,
  isQuiet,
  livesOf,
  planOf,
  runsByProducer,
  takersOf,
  tokensIn,
  wordIn,
} from './stored.js';
import type { StoredEnd } from './stored.js';
import { toldBy, tokenOfItem } from './tokens.js';
import type { Token } from './tokens.js';

// What is on its way when a source is to stop: nothing here may be judged by a clock that is closer than this.
const NOTICE_MS = 2_000;
// What a log that cannot be reached may add to that.
const LOG_NOTICE_MS = 5_000;
/** Turns in which a producer may make tokens before it finds that it is none any more. */
const TURNS = 2;

type SourceReport = Report & { kind: 'source' };

/**
 * Holds a run of the test against its history, and says what is wrong, in words that name the run and the page.
 *
 * It knows nothing of how runs work: it compares what pages got with what logs held, with what sources made, and with
 * what those were told who save answers.
 */
export function findRunFaults(history: RunsHistory): string[] {
  const runs = runsByProducer(history);
  return [
    ...history.stored.flatMap((run) => faultsOfLog(history, run)),
    ...history.pages.flatMap((page) => new PageCheck(history, page).faults()),
    ...faultsOfEnds(history),
    ...history.processes.flatMap((process) => faultsOfSources(history, process, runs)),
    ...history.stops.flatMap((stop) => faultsOfStop(history, stop)),
    ...history.leases.map((lease) => `The lease ${lease} is left.`),
  ];
}

function faultsOfLog(history: RunsHistory, run: StoredRun): string[] {
  const { plans, isLogFaulty } = history;
  const what = `The run ${run.id} (${run.key})`;
  const faults: string[] = [];
  const fault = (text: string) => void faults.push(`${what} ${text}.`);
  const [first] = run.records;
  // Whoever began it died before it said so, or an old copy has not even that: there is none.
  if (!first || isOfNoRun(run)) {
    return [];
  }
  if (first.kind !== 'begin') {
    fault(`begins with ${first.kind}`);
  }
  // Each append draws its own nonces, so one nonce at two places is one append that is there twice.
  const places = new Map<string | undefined, string>();
  for (const { id } of run.records) {
    const nonce = parsePosition(id)?.nonce;
    if (places.has(nonce)) {
      fault(`has at ${id} what it has at ${places.get(nonce)}`);
    }
    places.set(nonce, id);
  }
  const tokens = tokensIn(plans, run);
  faults.push(...faultsOfTokens(what, tokens, run.id, takersOf(plans, run)));
  faultsOfHandOver(run).forEach(fault);
  const endAt = run.records.findIndex(({ kind }) => kind === 'end');
  const end = endOf(run);
  if (!end) {
    fault('has not ended');
    return faults;
  }
  const later = run.records.slice(endAt + 1).find(({ kind }) => ['item', 'last', 'end'].includes(kind));
  if (later) {
    fault(`goes on after its end with ${later.kind}`);
  }
  const bytes = run.records
    .filter(({ kind }) => kind === 'item')
    .reduce((sum, { data }) => sum + Buffer.byteLength(data), 0);
  if (end.events !== tokens.length || end.bytes !== bytes) {
    fault(`holds ${tokens.length} events of ${bytes} bytes, and says ${end.events} of ${end.bytes}`);
  }
  const words = run.records
    .filter(({ kind }) => kind === 'last')
    .map((record) => wordIn(plans, run.id, record));
  const told = toldBy(formatIn(plans, run.id), words);
  const isDone = end.reason === 'done';
  if (told !== (isDone || isQuiet(formatIn(plans, run.id), end) ? 'done' : 'failed')) {
    fault(`ended as ${end.reason}, and says [${words.join()}]`);
  }
  const plan = planOf(plans, run.id, tokens[0]?.turn);
  if (isDone && plan && tokens.length !== plan.tokens) {
    fault(`ended as done with ${tokens.length} of ${plan.tokens} tokens`);
  }
  const cause =
    plan && isLogFaulty && end.reason === 'error' ? 'the log' : plan && causeOf(history, run, end, plan);
  if (plan && cause === undefined) {
    fault(`ended as ${end.reason} after ${tokens.length} tokens, for no reason`);
  }
  return faults;
}

/** Between `handed-over` and `taken-over` a run has no producer. */
function faultsOfHandOver({ records }: StoredRun): string[] {
  const faults: string[] = [];
  let isHandedOver = false;
  for (const { kind } of records) {
    if (kind === 'taken-over' && !isHandedOver) {
      faults.push('was taken over, and was not handed over');
    }
    if (kind === 'item' && isHandedOver) {
      faults.push('goes on after it was handed over, and was not taken over');
      break;
    }
    isHandedOver = kind === 'handed-over' || (isHandedOver && kind !== 'taken-over');
  }
  return faults;
}

/** What a run may have ended of, in the way that it did; undefined where nothing was done to it that would. */
function causeOf(
  { processes, stops }: RunsHistory,
  run: StoredRun,
  { reason, events }: StoredEnd,
  plan: RunPlan,
): string | undefined {
  const anyOf = (is: boolean, cause: string) => (is ? cause : undefined);
  switch (reason) {
    case 'done':
      return anyOf(plan.failsAt < 0, 'its source');
    case 'stop':
      return anyOf(
        stops.some(({ id }) => id === run.id),
        'a stop',
      );
    case 'client':
      return anyOf(plan.onDisconnect === 'abort', 'its pages');
    case 'orphan':
      return 'its pages';
    case 'shutdown':
      return anyOf(
        processes.some(({ fate }) => fate === 'closed'),
        'a deploy',
      );
    case 'error':
      // The process of a source may have died, or stood still: which one made it is not always in the log.
      return anyOf(
        events === plan.failsAt || processes.some((process) => isDisturbed(process)),
        'a source, or a process',
      );
    case 'timeout':
      return undefined;
  }
}

function isDisturbed({ fate, reports }: ProcessRecord): boolean {
  return fate === 'killed' || reports.some(({ kind }) => kind === 'stall');
}

function faultsOfEnds({ stored, processes, plans }: RunsHistory): string[] {
  const faults: string[] = [];
  const ends = endsByKey(processes);
  for (const run of stored) {
    const end = endOf(run);
    if (!end) {
      continue;
    }
    const told = ends.get(run.key) ?? [];
    if (told.length === 0 && !isBeyondSaving(run, stored, processes)) {
      faults.push(`onEnd was never called for the run ${run.id} (${run.key}).`);
    }
    for (const one of told) {
      // One that came back as an old copy may end once more, in another way.
      const judged = livesOf(run).map((life) => {
        const lifeEnd = endOf(life);
        return lifeEnd ? faultsOfSaved(one, life, lifeEnd, plans) : undefined;
      });
      if (!judged.some((each) => each?.length === 0)) {
        faults.push(...judged.at(-1)!);
      }
    }
  }
  for (const [key, [end]] of ends) {
    if (!stored.some((run) => run.key === key)) {
      faults.push(`onEnd was called for ${key} of ${end!.id}, which is no run.`);
    }
  }
  return faults;
}

/** Whether every run has ended, and its end was told. */
export function isAllTold({ stored, processes }: RunsHistory): boolean {
  const ends = endsByKey(processes);
  const isTold = (run: StoredRun) => ends.has(run.key) || isBeyondSaving(run, stored, processes);
  return stored.every(
    (run) => run.records.length === 0 || isOfNoRun(run) || (endOf(run) !== undefined && isTold(run)),
  );
}

function endsByKey(processes: readonly ProcessRecord[]): Map<string, SavedEnd[]> {
  const ends = new Map<string, SavedEnd[]>();
  for (const report of processes.flatMap(({ reports }) => reports)) {
    if (report.kind === 'end') {
      ends.set(report.end.key, [...(ends.get(report.end.key) ?? []), report.end]);
    }
  }
  return ends;
}

/** Whether its answer could not be saved, another run took its place, and the process that was to try again died. */
export function isBeyondSaving(
  { id, key }: StoredRun,
  stored: readonly StoredRun[],
  processes: readonly ProcessRecord[],
): boolean {
  const at = stored.findIndex((run) => run.key === key);
  const isReplaced = stored.slice(at + 1).some((run) => run.id === id);
  return isReplaced && processes.some(({ fate, reports }) => fate !== 'left' && hasRefused(reports, key));
}

function hasRefused(reports: readonly Report[], key: string): boolean {
  return reports.some((report) => report.kind === 'refusal' && report.key === key);
}

function faultsOfSaved(
  saved: SavedEnd,
  run: StoredRun,
  end: StoredEnd,
  plans: RunsHistory['plans'],
): string[] {
  const what = `onEnd of the run ${run.id} (${run.key})`;
  const faults: string[] = [];
  if (saved.id !== run.id) {
    faults.push(`${what} was called for ${saved.id}.`);
  }
  for (const field of ['reason', 'events', 'bytes'] as const) {
    if (saved[field] !== end[field]) {
      faults.push(`${what} was given the ${field} ${saved[field]}, where the log has ${end[field]}.`);
    }
  }
  const format = formatIn(plans, run.id);
  const texts = (tokens: readonly Token[]) => tokens.map((token) => JSON.stringify(token));
  const given = texts(saved.items.map((item) => tokenOfItem(format, item)));
  const held = texts(tokensIn(plans, run));
  if (given.join() !== held.join()) {
    faults.push(`${what} was given ${given.length} items, which are not the ${held.length} of the log.`);
  }
  return faults;
}

function faultsOfSources(
  history: RunsHistory,
  { name, fate, reports }: ProcessRecord,
  runs: ReadonlyMap<string, StoredRun>,
): string[] {
  const faults: string[] = [];
  const overs = new Map(
    reports.flatMap((report) => (report.kind === 'over' ? [[report.producer, report.at]] : [])),
  );
  for (const source of reports.filter((report): report is SourceReport => report.kind === 'source')) {
    const { producer, id, turn } = source;
    if (!overs.has(producer) && fate !== 'killed') {
      faults.push(`The source ${producer} is not over, and its process ${name} was there.`);
    }
    const run = runs.get(producer);
    const overAt = overs.get(producer);
    const end = run && endOf(run);
    const lateMs =
      end && overAt !== undefined ? overAt - end.at - patienceMs(history, id, end.at, overAt) : 0;
    if (lateMs > 0) {
      faults.push(`The source ${producer} of the run ${id} was over ${lateMs} ms too late.`);
    }
    const made = run ? tokensAfter(run, source, planOf(history.plans, id, turn)!, reports) : 0;
    if (made > TURNS) {
      faults.push(
        `The source ${producer} made ${made} tokens for the run ${id} (${run!.key}) after that was over.`,
      );
    }
  }
  return faults;
}

/** How many tokens a source has made, each after a pause, for a run that was over. */
function tokensAfter(
  run: StoredRun,
  { producer }: SourceReport,
  { pausesMs }: RunPlan,
  reports: readonly Report[],
): number {
  const end = endOf(run);
  if (!end) {
    return 0;
  }
  const stalls = reports.filter((report) => report.kind === 'stall');
  const overlapping = stalls.filter(({ at, ms }) => at - ms <= end.at + NOTICE_MS && at >= end.at);
  // A process that stood still is judged from when it ran again.
  const from = Math.max(
    end.at + (overlapping.length > 0 ? 0 : NOTICE_MS),
    ...overlapping.map(({ at }) => at),
  );
  const isLate = (report: Report) =>
    report.kind === 'token' &&
    report.producer === producer &&
    report.at > from &&
    pausesMs[report.index % pausesMs.length]! > 0;
  return reports.filter(isLate).length;
}

function faultsOfStop(history: RunsHistory, { id, askedAt, wasLive }: StopCall): string[] {
  if (wasLive !== true) {
    return [];
  }
  const heard = history.stored.filter(
    (run) => run.id === id && livesOf(run).some((life) => life.past.length > 0 || hasHeard(life, askedAt)),
  );
  if (heard.length === 0) {
    return [`A stop of ${id} was answered as done, and no run of that id knows of it.`];
  }
  return heard.flatMap((run) => {
    const stop = run.records.find(({ kind }) => kind === 'stop');
    const end = endOf(run);
    // One that is lost meanwhile is ended by who finds it.
    if (!stop || !end || end.reason === 'error') {
      return [];
    }
    const lateMs = end.at - stop.at - patienceMs(history, id, stop.at, end.at);
    return lateMs > 0
      ? [`The run ${id} (${run.key}) was stopped, and ended as ${end.reason}, ${lateMs} ms too late.`]
      : [];
  });
}

/** How long something may take between two times, with what those that made the run stood still meanwhile. */
function patienceMs({ processes, isLogFaulty }: RunsHistory, id: string, from: number, to: number): number {
  const isMaker = ({ reports }: ProcessRecord) =>
    reports.some((one) => one.kind === 'source' && one.id === id);
  const stalls = processes
    .filter(isMaker)
    .flatMap(({ reports }) => reports)
    .filter((report) => report.kind === 'stall');
  const overlapping = stalls.filter(({ at, ms }) => at > from && at - ms < to);
  const stalledMs = overlapping.reduce((sum, { ms }) => sum + ms, 0);
  return NOTICE_MS + stalledMs + (isLogFaulty ? LOG_NOTICE_MS : 0);
}

/** Whether a run was stopped, or was lost while it was: what its log cannot be told, it does not say. */
function hasHeard(run: StoredRun, askedAt: number): boolean {
  const end = endOf(run);
  const isLost = end !== undefined && ['error', 'shutdown'].includes(end.reason) && end.at >= askedAt;
  return isLost || end?.reason === 'stop' || run.records.some(({ kind }) => kind === 'stop');
}
