import { PAGE_ROWS } from '../protocol.js';
import type { ConnectionRow, ListName, ListPart, Row } from '../protocol.js';
import { find, setText } from './dom.js';
import { count } from './format.js';
import { connectionKind, keyKind, runKind, topicKind } from './kinds.js';
import type { PageHost } from './kinds.js';
import { Table } from './table.js';
import type { TableKind } from './table.js';

const TITLES: Readonly<Record<ListName, string>> = {
  connections: 'Connections',
  topics: 'Topics that are followed',
  keys: 'Keys of connections and runs',
  runs: 'Runs',
};
const TYPING_MS = 250;

/** A list with its filter and its pages. */
export class ListView {
  readonly #host: PageHost;
  /** Called when another part of the list is to come. */
  readonly #onQuery: () => void;
  readonly #form = find('query', HTMLFormElement);
  readonly #next = find('next', HTMLButtonElement);
  readonly #previous = find('previous', HTMLButtonElement);
  #name: ListName = 'connections';
  #table: Table<Row> | undefined;
  #part: ListPart | undefined;
  /** The places at which the pages before this one end. */
  #places: string[] = [];
  #before = 0;
  #typing: ReturnType<typeof setTimeout> | undefined;

  constructor(host: PageHost, onQuery: () => void) {
    this.#host = host;
    this.#onQuery = onQuery;
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#restart();
    });
    this.#form.addEventListener('input', ({ target }) => {
      if (target !== this.#hold) {
        clearTimeout(this.#typing);
        this.#typing = setTimeout(() => this.#restart(), TYPING_MS);
      }
    });
    this.#next.addEventListener('click', () => this.#turn(1));
    this.#previous.addEventListener('click', () => this.#turn(-1));
  }

  /** Shows another list, from its beginning. */
  begin(name: ListName, filter: string): void {
    this.#name = name;
    this.#table = new Table<Row>(find('rows', HTMLTableElement), this.#kindOf(name));
    this.#filter.value = filter;
    this.#hold.checked = false;
    this.#part = undefined;
    this.#places = [];
    this.#before = 0;
    setText(find('list-title'), TITLES[name]);
    setText(find('summary'), 'Waits for the instances');
    find('order').hidden = name !== 'connections';
    find('pages').hidden = name !== 'connections';
  }

  /** What the stream is to send. */
  get query(): Record<string, string> {
    return {
      list: this.#name,
      filter: this.#filter.value,
      order: (this.#form.elements.namedItem('order') as HTMLSelectElement).value,
      after: this.#places.at(-1) ?? '',
    };
  }

  show(part: ListPart): void {
    if (this.#hold.checked && this.#part) {
      return;
    }
    this.#part = part;
    this.#table?.show(part.rows);
    const { total, rows, isCut } = part;
    const of = `${count(total)}${isCut ? ' or more' : ''}`;
    const shown =
      this.#name === 'connections'
        ? `${count(rows.length === 0 ? 0 : this.#before + 1)} to ${count(this.#before + rows.length)} of ${of}`
        : `${count(rows.length)} of ${of}${total > rows.length ? `, ${this.#first} first: filter for others` : ''}`;
    setText(find('summary'), total === 0 ? 'There are none.' : shown);
    this.#previous.disabled = this.#places.length === 0;
    this.#next.disabled = this.#before + rows.length >= total || rows.length === 0;
  }

  get #first(): string {
    return this.#name === 'runs' ? 'the newest' : 'those with most';
  }

  get #filter(): HTMLInputElement {
    return this.#form.elements.namedItem('filter') as HTMLInputElement;
  }

  get #hold(): HTMLInputElement {
    return this.#form.elements.namedItem('hold') as HTMLInputElement;
  }

  #restart(): void {
    clearTimeout(this.#typing);
    this.#places = [];
    this.#before = 0;
    this.#ask();
  }

  #turn(by: 1 | -1): void {
    const rows = this.#part?.rows ?? [];
    if (by === 1) {
      this.#places.push((rows.at(-1) as ConnectionRow | undefined)?.place ?? '');
      this.#before += rows.length;
    } else {
      this.#places.pop();
      this.#before = this.#places.length * PAGE_ROWS;
    }
    this.#ask();
  }

  #ask(): void {
    this.#part = undefined;
    this.#onQuery();
  }

  #kindOf(name: ListName): TableKind<Row> {
    const kinds = { connections: connectionKind, topics: topicKind, keys: keyKind, runs: runKind };
    return kinds[name](this.#host);
  }
}
