import { isBeyondSaving } from './checker.js';
import type { RunsHistory } from './history.js';
import { endOf, runsByProducer } from './stored.js';

/** What came of a run of the test: of paths that were not taken nothing is proved. */
export interface RunsSummary {
  /** How runs ended, by reason. */
  readonly endings: Record<string, number>;
  /** How pages ended. */
  readonly pages: Record<string, number>;
  /** What pages were answered, by status. */
  readonly answers: Record<string, number>;
  readonly tokens: number;
  /** Sources whose run was ended by another, and whose process was there to find that. */
  readonly superseded: number;
  /** Runs that another instance has gone on with. */
  readonly takenOver: number;
  /** How often the end of a run was told once more. */
  readonly toldAgain: number;
  /** Runs whose end was told to nobody, as is allowed where all goes wrong at once. */
  readonly beyondSaving: number;
}

export function summaryOf(history: RunsHistory): RunsSummary {
  const { stored, pages, processes } = history;
  const reports = processes.flatMap((process) => process.reports);
  const saved = reports.flatMap((report) => (report.kind === 'end' ? [report.end.key] : []));
  const aborted = reports.flatMap((report) =>
    report.kind === 'over' && report.how === 'aborted' ? [report.producer] : [],
  );
  const runs = runsByProducer(history);
  const reasonOf = (producer: string) => {
    const run = runs.get(producer);
    return run && endOf(run)?.reason;
  };
  return {
    endings: countOf(stored.flatMap((run) => endOf(run)?.reason ?? [])),
    pages: countOf(pages.map(({ end }) => end ?? 'waiting')),
    answers: countOf(
      pages
        .flatMap(({ sights }) => sights)
        .flatMap((sight) => (sight.kind === 'answer' ? [`${sight.status}`] : [])),
    ),
    tokens: reports.filter(({ kind }) => kind === 'token').length,
    superseded: aborted.filter((producer) => reasonOf(producer) === 'error').length,
    takenOver: stored.filter(({ records }) => records.some(({ kind }) => kind === 'taken-over')).length,
    toldAgain: saved.length - new Set(saved).size,
    beyondSaving: stored.filter((run) => !saved.includes(run.key) && isBeyondSaving(run, stored, processes))
      .length,
  };
}

function countOf(values: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const value of values.toSorted()) {
    counts[value] = (counts[value] ?? 0) + 1;
  }
  return counts;
}
