import { parsePosition } from '../../../lib/wire/index.js';
import type { PageRecord, RunsHistory, Sight, StoredRun } from './history.js';
import {
  endOf,
  faultsOfTokens,
  formatIn,
  isOfNoRun,
  isOfClients,
  isQuiet,
  livesOf,
  planOf,
  takersOf,
} from './stored.js';
import { beginsFailure, hasWordOfEnd, readEvent, toldBy } from './tokens.js';
import type { Token, Told } from './tokens.js';

type EventSight = Sight & { kind: 'event' };
/** An event, with the connection that brought it. */
type Got = EventSight & { readonly visit: number };

/** Holds what one page got against what the logs have. */
export class PageCheck {
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
  #checkLine(line: readonly Got[]): void {
    const { plans, stored } = this.#history;
    const { id } = this.#page;
    const what = this.#page.name;
    const tokens: Token[] = [];
    const words: string[] = [];
    const recorded = this.#withoutLoss(line);
    for (const event of recorded) {
      const read = readEvent(formatIn(plans, id), event);
      if ('word' in read) {
        words.push(read.word);
      } else if (words.length > 0) {
        this.#fault(`got a token after ${words.join()}`);
      } else {
        tokens.push(read.token);
      }
    }
    const run = recorded[0] && stored.find(({ key }) => key === keyOf(recorded[0]!.id));
    this.#faults.push(...faultsOfTokens(what, tokens, id, run && takersOf(plans, lifeOf(run, recorded))));
    this.#checkIds(recorded);
    const told = toldBy(formatIn(plans, id), words);
    const plan = planOf(plans, id, tokens[0]?.turn);
    if (told === 'done' && words.length > 0 && plan && tokens.length !== plan.tokens) {
      this.#fault(`was told that the answer is complete after ${tokens.length} of ${plan.tokens} tokens`);
    }
    if (recorded.length > 0 && !run) {
      this.#fault(`got ${recorded[0]!.id}, which is of no run`);
    }
    if (run) {
      this.#compare(recorded, lifeOf(run, recorded));
    }
  }

  /**
   * What it got of the log. Where the log has another run by now, or an old copy of this one, its instance can only tell
   * that it is lost, in words of the format's that have no place in any log.
   */
  #withoutLoss(line: readonly Got[]): readonly Got[] {
    const format = formatIn(this.#history.plans, this.#page.id);
    const lost = groupsWithoutId(line);
    const isTold =
      lost.length > 0 &&
      lost.every((words) => beginsFailure(format, this.#wordsIn(words))) &&
      (line[0]!.id === '' ? this.#isAnyGone : this.#isGone(line[0]!.id));
    // A page may come back all the same, and gets what the log has.
    return isTold ? line.filter(({ id }) => id !== '') : line;
  }

  #checkIds(line: readonly Got[]): void {
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
  #compare(line: readonly Got[], run: StoredRun): void {
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
      if (sight.kind === 'ask') {
        asked = sight.after;
      }
      if (sight.kind === 'answer' && sight.status === 410 && !this.#isGone(asked)) {
        this.#fault(`was told that the run of ${asked} is another, which it is not`);
      }
      if (sight.kind === 'answer' && sight.status >= 400 && sight.status !== 410 && sight.status < 500) {
        this.#fault(`was answered with ${sight.status}`);
      }
      // While the log is away, it is 503.
      if (sight.kind === 'answer' && sight.status === 500 && !this.#hasFailedEmpty && !this.#isAnyGone) {
        this.#fault('was answered with 500, and no run of its id has failed before it made anything');
      }
    }
  }

  /** Whether a run was stopped before it had made anything. */
  get #endedEmpty(): boolean {
    const lives = this.#history.stored.filter(({ id }) => id === this.#page.id).flatMap(livesOf);
    return lives.some((run) => !run.records.some(isOfClients) && endsQuietly(run));
  }

  /** Whether a run has failed before it made anything: its clients get a status. */
  get #hasFailedEmpty(): boolean {
    const lives = this.#history.stored.filter(({ id }) => id === this.#page.id).flatMap(livesOf);
    return lives.some((run) => endOf(run)?.events === 0 && endOf(run)?.reason === 'error');
  }

  /** Whether somebody died who was to begin a run, and had made room for it, or an old copy has nothing of one. */
  get #wasEmptied(): boolean {
    const runs = this.#history.stored.filter(({ id }) => id === this.#page.id);
    return runs.some((run) => run.records.length === 0 || isOfNoRun(run));
  }

  /** The stored runs of its id, as the message of a fault names them. */
  get #storedRuns(): string {
    const runs = this.#history.stored.filter(({ id }) => id === this.#page.id);
    return `stored: ${runs.map((run) => `${run.key} ${run.records.length} ${endOf(run)?.reason}`).join(', ')}`;
  }

  /** Whether one of the runs was: of a page that had nothing of its run it is not known which one that is. */
  get #isAnyGone(): boolean {
    const runs = this.#history.stored.filter(({ id }) => id === this.#page.id);
    return runs.length > 1 || runs.some(({ past }) => past.length > 0);
  }

  /** Whether the run of an id was replaced, or came back as an old copy. */
  #isGone(id: string | undefined): boolean {
    const { stored } = this.#history;
    const at = stored.findIndex(({ key }) => id !== undefined && key === keyOf(id));
    const hasGoneBack = at !== -1 && stored[at]!.past.length > 0;
    return hasGoneBack || stored.slice(at + 1).some((run) => run.id === this.#page.id);
  }

  #checkEnd(line: readonly Got[]): void {
    const { plans, stored } = this.#history;
    const { id, end } = this.#page;
    const format = formatIn(plans, id);
    const recorded = this.#withoutLoss(line);
    const isLost = recorded.length < line.length;
    const stood = recorded[0] && stored.find(({ key }) => key === keyOf(recorded[0]!.id));
    const run = stood && lifeOf(stood, recorded);
    const isWhole = run !== undefined && run.records.filter(isOfClients).length === recorded.length;
    const told = this.#toldIn(recorded) ?? (isLost ? 'failed' : undefined);
    switch (end) {
      case undefined:
        this.#fault('has never come to an end');
        break;
      case 'told':
        if (told === undefined) {
          this.#fault('took for the end what is none');
        } else if (!isWhole && !isLost) {
          this.#fault(`was told the end after ${recorded.length} events of a log that has more`);
        }
        break;
      case 'clean':
        if (hasWordOfEnd(format)) {
          this.#fault('saw its response end without the last word of the format');
        } else if (recorded.length === 0 ? !this.#endedEmpty : !isWhole || !endsQuietly(run)) {
          this.#fault(`saw its response end as if it were complete, after ${recorded.length} events`);
        }
        break;
      case 'none':
        // Clients of the AI SDK have the answer of one that has ended from where it was saved. One that asks for all
        // may find the next run, which was stopped before it had made anything.
        if (
          format !== 'ai-sdk' &&
          !isWhole &&
          !this.#wasEmptied &&
          !(recorded.length === 0 && this.#endedEmpty)
        ) {
          this.#fault(`was told that there is nothing, after ${recorded.length} events; ${this.#storedRuns}`);
        }
        break;
      case 'failed':
        if (recorded.length > 0) {
          this.#fault(`was answered with a failure after ${recorded.length} events`);
        }
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

  #toldIn(line: readonly Got[]): Told {
    const words = this.#wordsIn(line);
    return words.length > 0 ? toldBy(formatIn(this.#history.plans, this.#page.id), words) : undefined;
  }

  #wordsIn(line: readonly Got[]): string[] {
    const format = formatIn(this.#history.plans, this.#page.id);
    return line.flatMap((event) => {
      const read = readEvent(format, event);
      return 'word' in read ? [read.word] : [];
    });
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

/** The events without an id, each group of them that came together on a connection. */
function groupsWithoutId(line: readonly Got[]): Got[][] {
  const groups: Got[][] = [];
  for (const [index, event] of line.entries()) {
    if (event.id === '') {
      const before = line[index - 1];
      if (before?.id !== '' || before.visit !== event.visit) {
        groups.push([]);
      }
      groups.at(-1)!.push(event);
    }
  }
  return groups;
}

/** The life of a run in which a client got that: the latest of those whose records it has seen to their end. */
function lifeOf(run: StoredRun, line: readonly Got[]): StoredRun {
  const sameIn = ({ records }: StoredRun) => {
    const due = records.filter(isOfClients);
    const other = line.findIndex((event, index) => due[index]?.id !== event.id);
    return other === -1 ? line.length : other;
  };
  const lives = livesOf(run);
  const most = Math.max(...lives.map(sameIn));
  const fitting = lives.filter((life) => sameIn(life) === most);
  return fitting.find(({ records }) => records.filter(isOfClients).length === line.length) ?? fitting.at(-1)!;
}

/** The events that a page put together, anew each time that it asked for all. */
function linesOf(sights: readonly Sight[]): Got[][] {
  const lines: Got[][] = [];
  let visit = 0;
  for (const sight of sights) {
    if (sight.kind === 'ask') {
      visit += 1;
      if (sight.after === undefined) {
        lines.push([]);
      }
    }
    if (sight.kind === 'event') {
      lines.at(-1)?.push({ ...sight, visit });
    }
  }
  return lines;
}

function keyOf(id: string): string | undefined {
  return parsePosition(id)?.epoch;
}
