import { make, setText } from './dom.js';

/** A column of a table. */
export interface Column<R> {
  readonly label: string;
  readonly isNumber?: boolean;
  text(row: R): string;
  /** Colours the cell. */
  state?(row: R): 'good' | 'wait' | 'bad' | undefined;
}

/** A button of each row. */
export interface Action<R> {
  readonly label: string;
  /** What it is for, for those who do not see the row. */
  about(row: R): string;
  isFor?(row: R): boolean;
  act(row: R): void;
}

/** What a table shows. */
export interface TableKind<R> {
  readonly columns: readonly Column<R>[];
  readonly actions: readonly Action<R>[];
  /** Identifies a row: it keeps its element, and so the focus. */
  keyOf(row: R): string;
}

interface ShownRow<R> {
  readonly element: HTMLTableRowElement;
  row: R;
}

/** A table that follows its data. A row that stays keeps its elements; arrow keys go from row to row. */
export class Table<R> {
  readonly #body = make('tbody');
  readonly #kind: TableKind<R>;
  #shown = new Map<string, ShownRow<R>>();

  constructor(table: HTMLTableElement, kind: TableKind<R>) {
    this.#kind = kind;
    const head = make('tr');
    for (const { label, isNumber } of kind.columns) {
      const cell = make('th', label, isNumber ? 'number' : '');
      cell.scope = 'col';
      head.append(cell);
    }
    if (kind.actions.length > 0) {
      head.append(make('td'));
    }
    const thead = make('thead');
    thead.append(head);
    table.replaceChildren(thead, this.#body);
    this.#body.addEventListener('keydown', (event) => this.#onKey(event));
  }

  show(rows: readonly R[]): void {
    const focused = document.activeElement;
    const former = this.#shown;
    this.#shown = new Map();
    for (const row of rows) {
      const key = this.#kind.keyOf(row);
      const shown = former.get(key) ?? { element: this.#makeRow(key), row };
      shown.row = row;
      this.#fill(shown);
      this.#shown.set(key, shown);
    }
    const elements = Array.from(this.#shown.values(), ({ element }) => element);
    // An element that is moved loses the focus: those that are in their place are left there.
    if (elements.some((element, index) => this.#body.children[index] !== element)) {
      this.#body.replaceChildren(...elements);
    } else {
      Array.from(this.#body.children)
        .slice(elements.length)
        .forEach((element) => element.remove());
    }
    if (focused instanceof HTMLElement && focused !== document.activeElement && focused.isConnected) {
      focused.focus({ preventScroll: true });
    }
  }

  #makeRow(key: string): HTMLTableRowElement {
    const { columns, actions } = this.#kind;
    const element = make('tr');
    for (const { label, isNumber } of columns) {
      const cell = make('td', '', isNumber ? 'number' : '');
      cell.dataset['label'] = label;
      element.append(cell);
    }
    if (actions.length > 0) {
      const cell = make('td', '', 'actions');
      for (const action of actions) {
        const button = make('button', action.label);
        button.type = 'button';
        button.addEventListener('click', () => {
          const shown = this.#shown.get(key);
          if (shown) {
            action.act(shown.row);
          }
        });
        cell.append(button);
      }
      element.append(cell);
    }
    return element;
  }

  #fill({ element, row }: ShownRow<R>): void {
    const { columns, actions } = this.#kind;
    columns.forEach((column, index) => {
      const cell = element.cells[index]!;
      setText(cell, column.text(row));
      const named = column.state?.(row);
      if (named === undefined) {
        delete cell.dataset['state'];
      } else {
        cell.dataset['state'] = named;
      }
    });
    element.querySelectorAll('button').forEach((button, index) => {
      const action = actions[index]!;
      button.hidden = action.isFor?.(row) === false;
      button.setAttribute('aria-label', `${action.label}: ${action.about(row)}`);
    });
  }

  /** Goes to the same button of the next row, or the one before. */
  #onKey(event: KeyboardEvent): void {
    const button = event.target;
    const steps: Readonly<Record<string, number>> = { ArrowDown: 1, ArrowUp: -1 };
    const step = steps[event.key];
    if (step === undefined || !(button instanceof HTMLButtonElement)) {
      return;
    }
    const rows = Array.from(this.#shown.values(), ({ element }) => element);
    const at = rows.findIndex((row) => row.contains(button));
    const place = Array.from(rows[at]!.querySelectorAll('button')).indexOf(button);
    const next = rows[at + step]?.querySelectorAll('button')[place];
    if (next) {
      event.preventDefault();
      next.focus();
    }
  }
}
