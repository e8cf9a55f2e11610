import type { Update } from '../protocol.js';
import { find, make } from './dom.js';
import { count, words } from './format.js';
import { INSTANCES } from './kinds.js';
import { Table } from './table.js';

/** The instances, and what they have counted together. */
export class Overview {
  readonly #table = new Table(find('instances', HTMLTableElement), INSTANCES);
  readonly #counts = find('counts');
  #shown = '';

  show(instances: Update['instances']): void {
    this.#table.show(instances);
    const sums = sumOf(instances);
    const text = JSON.stringify(sums);
    if (text === this.#shown) {
      return;
    }
    this.#shown = text;
    const groups = Object.entries(sums).map(([group, counts]) => {
      const section = make('section');
      const list = make('dl');
      for (const [name, value] of Object.entries(counts).filter(([, sum]) => sum > 0)) {
        list.append(make('dt', words(name)), make('dd', count(value)));
      }
      if (list.childElementCount === 0) {
        list.append(make('dt', 'none'));
      }
      section.append(make('h3', TITLES[group] ?? words(group)), list);
      return section;
    });
    this.#counts.replaceChildren(...groups);
  }
}

const TITLES: Readonly<Record<string, string>> = {
  closed: 'Connections that closed',
  turnedAway: 'Clients that were turned away',
  started: 'Followers that began',
  resets: 'Resets',
  published: 'Publishes',
  losses: 'Losses of the log’s place',
  runsEnded: 'Runs that ended',
  limitsReached: 'Limits that were reached',
};

function sumOf(instances: Update['instances']): Record<string, Record<string, number>> {
  const sums: Record<string, Record<string, number>> = {};
  for (const { counts } of instances) {
    for (const [group, figures] of Object.entries(counts)) {
      const sum = (sums[group] ??= {});
      for (const [name, value] of Object.entries(figures)) {
        sum[name] = (sum[name] ?? 0) + value;
      }
    }
  }
  return sums;
}
