import { parsePosition } from '../../../lib/wire/index.js';
import type {
  PageRecord,
  ProcessRecord,
  Report,
  RunPlan,
  RunsHistory,
  SavedEnd,
  Sight,
  StopCall,
  StoredRecord,
  StoredRun,
} from './history.js';
import { hasWordOfEnd, readEvent, toldBy, tokenOfItem } from './tokens.js';
import type { Token, Told } from './tokens.js';

// What is on its way when a source is to stop: nothing here may be judged by a clock that is closer than this.
const NOTICE_MS = 2_000;
/** Turns in which a producer may make tokens before it finds that it is none any more. */
const TURNS = 2;

/** How a run ended, as its log says. */
export interface StoredEnd {
  readonly reason: SavedEnd['reason'];
  readonly events: number;
  readonly bytes: number;
  readonly at: number;
}

type SourceReport = Report & { kind: 'source' };
type EventSight = Sight & { kind: 'event' };

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

/** The end in a log; undefined where it has none. */
export function endOf({ records }: StoredRun): StoredEnd | undefined {
  const end = records.find(({ kind }) => kind === 'end');
  return end && { ...(JSON.parse(end.data) as StoredEnd), at: end.at };
}

/** The runs, by the producer of their tokens. */
export function runsByProducer({ stored, plans }: RunsHistory): Map<string, StoredRun> {
  return new Map(
    stored.flatMap((run) => tokensIn(plans, run).map(({ producer }) => [producer, run] as const)),
  );
}

function faultsOfLog(history: RunsHistory, run: StoredRun): string[] {
  const { plans, isLogFaulty } = history;
  const what = `The run ${run.id} (${run.key})`;
  const faults: string[] = [];
  const fault = (text: string) => void faults.push(`${what} ${text}.`);
  const [first] = run.records;
  // Whoever began it died before it said so: there is none.
  if (!first) return [];
  if (first.kind !== 'begin') fault(`begins with ${first.kind}`);
  const tokens = tokensIn(plans, run);
  faults.push(...faultsOfTokens(what, tokens, run.id));
  const endAt = run.records.findIndex(({ kind }) => kind === 'end');
  const end = endOf(run);
  if (!end) {
    fault('has not ended');
    return faults;
  }
  const later = run.records.slice(endAt + 1).find(({ kind }) => ['item', 'last', 'end'].includes(kind));
  if (later) fault(`goes on after its end with ${later.kind}`);
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
  if (told !== (isDone || isQuiet(formatIn(plans, run.id), end) ? 'done' : 'failed'))
    fault(`ended as ${end.reason}, and says [${words.join()}]`);
  const plan = planOf(plans, run.id, tokens[0]?.turn);
  if (isDone && plan && tokens.length !== plan.tokens) {
    fault(`ended as done with ${tokens.length} of ${plan.tokens} tokens`);
  }
  const cause =
    plan && isLogFaulty && end.reason === 'error' ? 'the log' : plan && causeOf(history, run, end, plan);
  if (plan && cause === undefined)
    fault(`ended as ${end.reason} after ${tokens.length} tokens, for no reason`);
  return faults;
}

/** Whether it was stopped on purpose, which a run without a format has no word for. */
function isQuiet(format: RunPlan['format'], { reason }: StoredEnd): boolean {
  return !hasWordOfEnd(format) && ['stop', 'client', 'orphan'].includes(reason);
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

function faultsOfTokens(what: string, tokens: readonly Token[], id: string): string[] {
  const faults: string[] = [];
  const [first] = tokens;
  for (const [due, { run, turn, producer, index }] of tokens.entries()) {
    if (run !== id) faults.push(`${what} has a token of ${run}.`);
    if (producer !== first!.producer || turn !== first!.turn) {
      faults.push(`${what} has tokens of two producers, ${first!.producer} and ${producer}.`);
    }
    if (index !== due) faults.push(`${what} has the token ${index} where ${due} is due.`);
    if (faults.length > 0) break;
  }
  return faults;
}

class PageCheck {
  readonly #history: RunsHistory;
  readonly #page: PageRecord;
  readonly #faults: string[] = [];

  constructor(history: RunsHistory, page: PageRecord) {
    this.#history = history;
    this.#page = page;
  }

  faults(): string[] {
    const lines = linesOf(this.#page.sights);
    lines.forEach((line) => this.#checkLine(line));
    this.#checkAnswers();
    this.#checkEnd(lines.at(-1) ?? []);
    return this.#faults;
  }

  /** What it was given from the beginning, over all connections on which it went on. */
  #checkLine(line: readonly EventSight[]): void {
    const { plans, stored } = this.#history;
    const { id } = this.#page;
    const what = this.#page.name;
    const tokens: Token[] = [];
    const words: string[] = [];
    for (const event of line) {
      const read = readEvent(formatIn(plans, id), event);
      if ('word' in read) words.push(read.word);
      else if (words.length > 0) this.#fault(`got a token after ${words.join()}`);
      else tokens.push(read.token);
    }
    this.#faults.push(...faultsOfTokens(what, tokens, id));
    const recorded = this.#withoutLoss(line);
    this.#checkIds(recorded);
    const told = toldBy(formatIn(plans, id), words);
    const plan = planOf(plans, id, tokens[0]?.turn);
    if (told === 'done' && words.length > 0 && plan && tokens.length !== plan.tokens) {
      this.#fault(`was told that the answer is complete after ${tokens.length} of ${plan.tokens} tokens`);
    }
    const run = line[0] && stored.find(({ key }) => key === keyOf(line[0]!.id));
    if (line.length > 0 && !run) this.#fault(`got ${line[0]!.id}, which is of no run`);
    if (run) this.#compare(recorded, run);
  }

  /**
   * What it got of the log. Where the log has another run by now, its instance can only tell that this one is lost, in
   * words of the format's that have no place in any log.
   */
  #withoutLoss(line: readonly EventSight[]): readonly EventSight[] {
    const firstWithout = line.findIndex(({ id }) => id === '');
    const isTold = firstWithout > 0 && this.#toldIn(line) === 'failed' && this.#isReplaced(line[0]!.id);
    return isTold ? line.slice(0, firstWithout) : line;
  }

  #checkIds(line: readonly EventSight[]): void {
    let last = { epoch: undefined as string | undefined, sequence: 0 };
    for (const { id } of line) {
      const position = parsePosition(id);
      if (!position) {
        this.#fault(`got an event with the id ${JSON.stringify(id)}`);
      } else if (
        last.epoch !== undefined &&
        (position.epoch !== last.epoch || position.sequence <= last.sequence)
      ) {
        this.#fault(`got ${id} after ${last.epoch}-${last.sequence}`);
      }
      last = position ?? last;
    }
  }

  /** Event by event, against the log. */
  #compare(line: readonly EventSight[], run: StoredRun): void {
    const due = run.records.filter(isOfClients);
    for (const [index, event] of line.entries()) {
      const record = due[index];
      const isSame =
        record?.id === event.id && record.data === event.data && (record.type ?? 'message') === event.type;
      if (!isSame) {
        this.#fault(`got ${event.id} where the log has ${record?.id ?? 'nothing'}`);
        return;
      }
    }
  }

  #checkAnswers(): void {
    let asked: string | undefined;
    for (const sight of this.#page.sights) {
      if (sight.kind === 'ask') asked = sight.after;
      if (sight.kind === 'answer' && sight.status === 410 && !this.#isReplaced(asked)) {
        this.#fault(`was told that the run of ${asked} is another, which it is not`);
      }
      if (sight.kind === 'answer' && sight.status >= 400 && sight.status !== 410 && sight.status < 500) {
        this.#fault(`was answered with ${sight.status}`);
      }
    }
  }

  /** Whether a run was stopped before it had made anything. */
  get #endedEmpty(): boolean {
    const { stored } = this.#history;
    return stored.some(
      (run) => run.id === this.#page.id && !run.records.some(isOfClients) && endsQuietly(run),
    );
  }

  /** Whether somebody died who was to begin a run, and had made room for it. */
  get #wasEmptied(): boolean {
    return this.#history.stored.some(({ id, records }) => id === this.#page.id && records.length === 0);
  }

  #isReplaced(id: string | undefined): boolean {
    const { stored } = this.#history;
    const at = stored.findIndex(({ key }) => id !== undefined && key === keyOf(id));
    return stored.slice(at + 1).some((run) => run.id === this.#page.id);
  }

  #checkEnd(line: readonly EventSight[]): void {
    const { plans, stored } = this.#history;
    const { id, end } = this.#page;
    const format = formatIn(plans, id);
    const run = line[0] && stored.find(({ key }) => key === keyOf(line[0]!.id));
    const isWhole = run !== undefined && run.records.filter(isOfClients).length === line.length;
    const told = this.#toldIn(line);
    const isLost = this.#withoutLoss(line).length < line.length;
    switch (end) {
      case undefined:
        this.#fault('has never come to an end');
        break;
      case 'told':
        if (told === undefined) this.#fault('took for the end what is none');
        else if (!isWhole && !isLost)
          this.#fault(`was told the end after ${line.length} events of a log that has more`);
        break;
      case 'clean':
        if (hasWordOfEnd(format)) this.#fault('saw its response end without the last word of the format');
        else if (line.length === 0 ? !this.#endedEmpty : !isWhole || !endsQuietly(run)) {
          this.#fault(`saw its response end as if it were complete, after ${line.length} events`);
        }
        break;
      case 'none':
        // Clients of the AI SDK have the answer of one that has ended from where it was saved.
        if (format !== 'ai-sdk' && !isWhole && !this.#wasEmptied) {
          this.#fault(`was told that there is nothing, after ${line.length} events`);
        }
        break;
      case 'failed':
        if (line.length > 0) this.#fault(`was answered with a failure after ${line.length} events`);
        break;
      case 'nothing':
        // Of one that was stopped before it said a word, a client gets the same.
        if (
          stored.some((one) => one.id === id) &&
          format !== 'ai-sdk' &&
          !this.#wasEmptied &&
          !this.#endedEmpty
        ) {
          this.#fault('was told that there is nothing where there is a run');
        }
        break;
    }
  }

  #toldIn(line: readonly EventSight[]): Told {
    const format = formatIn(this.#history.plans, this.#page.id);
    const words = line.flatMap((event) => {
      const read = readEvent(format, event);
      return 'word' in read ? [read.word] : [];
    });
    return words.length > 0 ? toldBy(format, words) : undefined;
  }

  #fault(text: string): void {
    this.#faults.push(`${this.#page.name} ${text}.`);
  }
}

/** Of a run without a format. */
function endsQuietly(run: StoredRun): boolean {
  const end = endOf(run);
  return end !== undefined && (end.reason === 'done' || isQuiet('none', end));
}

/** The events that a page put together, anew each time that it asked for all. */
function linesOf(sights: readonly Sight[]): EventSight[][] {
  const lines: EventSight[][] = [];
  for (const sight of sights) {
    if (sight.kind === 'ask' && sight.after === undefined) lines.push([]);
    if (sight.kind === 'event') lines.at(-1)?.push(sight);
  }
  return lines;
}

function faultsOfEnds({ stored, processes, plans }: RunsHistory): string[] {
  const faults: string[] = [];
  const ends = new Map<string, SavedEnd[]>();
  for (const report of processes.flatMap(({ reports }) => reports)) {
    if (report.kind === 'end') ends.set(report.end.key, [...(ends.get(report.end.key) ?? []), report.end]);
  }
  for (const run of stored) {
    const end = endOf(run);
    if (!end) continue;
    const told = ends.get(run.key) ?? [];
    if (told.length === 0) faults.push(`onEnd was never called for the run ${run.id} (${run.key}).`);
    for (const one of told) faults.push(...faultsOfSaved(one, run, end, plans));
  }
  for (const [key, [end]] of ends) {
    if (!stored.some((run) => run.key === key)) {
      faults.push(`onEnd was called for ${key} of ${end!.id}, which is no run.`);
    }
  }
  return faults;
}

function faultsOfSaved(
  saved: SavedEnd,
  run: StoredRun,
  end: StoredEnd,
  plans: RunsHistory['plans'],
): string[] {
  const what = `onEnd of the run ${run.id} (${run.key})`;
  const faults: string[] = [];
  if (saved.id !== run.id) faults.push(`${what} was called for ${saved.id}.`);
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
  { plans }: RunsHistory,
  { name, fate, reports }: ProcessRecord,
  runs: ReadonlyMap<string, StoredRun>,
): string[] {
  const faults: string[] = [];
  const over = new Set(reports.flatMap((report) => (report.kind === 'over' ? [report.producer] : [])));
  for (const source of reports.filter((report): report is SourceReport => report.kind === 'source')) {
    const { producer, id, turn } = source;
    if (!over.has(producer) && fate !== 'killed') {
      faults.push(`The source ${producer} is not over, and its process ${name} was there.`);
    }
    const run = runs.get(producer);
    const made = run ? tokensAfter(run, source, planOf(plans, id, turn)!, reports) : 0;
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
  if (!end) return 0;
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

function faultsOfStop({ stored, plans }: RunsHistory, { id, askedAt, wasLive }: StopCall): string[] {
  if (wasLive !== true) return [];
  const heard = stored.filter((run) => run.id === id && hasHeard(run, askedAt));
  if (heard.length === 0) return [`A stop of ${id} was answered as done, and no run of that id knows of it.`];
  return heard.flatMap((run) => {
    const stop = run.records.find(({ kind }) => kind === 'stop');
    const isLate = stop && run.records.some(({ kind, at }) => kind === 'item' && at > stop.at + NOTICE_MS);
    const tokens = tokensIn(plans, run).length;
    return isLate ? [`The run ${id} (${run.key}) was stopped, and went on to ${tokens} tokens.`] : [];
  });
}

/** Whether a run was stopped, or was lost while it was: what its log cannot be told, it does not say. */
function hasHeard(run: StoredRun, askedAt: number): boolean {
  const end = endOf(run);
  const isLost = end !== undefined && ['error', 'shutdown'].includes(end.reason) && end.at >= askedAt;
  return isLost || end?.reason === 'stop' || run.records.some(({ kind }) => kind === 'stop');
}

const isOfClients = ({ kind }: StoredRecord) => kind === 'item' || kind === 'last';

function tokensIn(plans: RunsHistory['plans'], run: StoredRun): Token[] {
  return run.records.flatMap((record) => {
    if (record.kind !== 'item') return [];
    const read = readEvent(formatIn(plans, run.id), record);
    return 'token' in read ? [read.token] : [];
  });
}

function wordIn(plans: RunsHistory['plans'], id: string, record: StoredRecord): string {
  const read = readEvent(formatIn(plans, id), record);
  return 'word' in read ? read.word : 'a token';
}

function formatIn(plans: RunsHistory['plans'], id: string): RunPlan['format'] {
  return plans.get(id)![0]!.format;
}

function planOf(plans: RunsHistory['plans'], id: string, turn: number | undefined): RunPlan | undefined {
  const turns = plans.get(id) ?? [];
  // Of one that has made nothing it is not known which one it is.
  return turn === undefined
    ? turns.length === 1
      ? turns[0]
      : undefined
    : turns.find((plan) => plan.turn === turn);
}

function keyOf(id: string): string | undefined {
  return parsePosition(id)?.epoch;
}
