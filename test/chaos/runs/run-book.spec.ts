import { describe, expect, it } from '@jest/globals';
import type { StoredRecord } from './history.js';
import { RunBook } from './run-book.js';

const record = (sequence: number): StoredRecord => ({
  id: `k1-${sequence}-${String(sequence).padStart(8, '0')}`,
  kind: 'item',
  type: undefined,
  data: '',
  at: 0,
});

describe('the book of runs, where an old copy comes back', () => {
  const changedBy = (change: (book: RunBook) => void) => {
    const book = new RunBook();
    const run = book.begin('chat', 'k1');
    run.records.push(record(1));
    run.writes += 1;
    book.copy();
    change(book);
    book.goBack();
    return { records: run.records.length, past: run.past.map(({ length }) => length) };
  };

  it('has what a run had made since as its past', () => {
    const add = (book: RunBook) => {
      const run = book.find('k1')!;
      run.records.push(record(2));
      run.writes += 1;
    };
    expect(changedBy(add)).toEqual({ records: 1, past: [2] });
  });

  it('says of a run that was written to without a record that it has gone back, too', () => {
    expect(changedBy((book) => void (book.find('k1')!.writes += 1))).toEqual({ records: 1, past: [1] });
  });

  it('leaves a run alone that nothing has written to', () => {
    expect(changedBy(() => undefined)).toEqual({ records: 1, past: [] });
  });
});
