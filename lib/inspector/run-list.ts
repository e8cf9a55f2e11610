import type { InspectedRun } from '../sse.inspection.js';
import type { ListMaker } from './list-maker.js';
import { PAGE_ROWS } from './protocol.js';
import type { ListPart, RunRow } from './protocol.js';
import { compareText, cut, matcherOf } from './row-text.js';
import { Top } from './top.js';

/** The newest runs of this process. */
export class RunList implements ListMaker {
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

/** Puts the newest first. */
export function compareRuns(a: RunRow, b: RunRow): number {
  return a.ageMs - b.ageMs || compareText(a.id, b.id);
}
