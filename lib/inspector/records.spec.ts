import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import type { ListPart } from './protocol.js';
import { closedRecord, closeRecord, listRecord, readRecord, reportRecord, watchRecord } from './records.js';
import { joinParts } from './lists.js';

const report = {
  id: 'one',
  name: 'host:1',
  log: { state: 'ready', reason: '', sinceMs: 5 },
  isDraining: true,
  figures: { connections: 3 },
  counts: { closed: { client: 2 }, resets: { trimmed: 1 } },
};
const part: ListPart = {
  total: 1,
  isCut: true,
  rows: [{ kind: 'keys', key: 'anna', connections: 1, behind: 0, runs: 0 }],
};
const query = { list: 'keys', filter: 'a', order: 'newest', after: '' } as const;

describe('the records of the inspector', () => {
  it('are read as they were written', () => {
    const views = new Map([['view', query] as const, ['bare', undefined] as const]);
    expect(readRecord(watchRecord('one', views))).toEqual({ kind: 'watch', by: 'one', views });
    expect(readRecord(reportRecord('one', report))).toMatchObject({
      kind: 'report',
      report: { ...report, figures: expect.objectContaining({ connections: 3, runs: 0 }) },
    });
    expect(readRecord(listRecord('one', 'two', 'view', part))).toEqual({
      kind: 'list',
      by: 'one',
      to: 'two',
      view: 'view',
      part,
    });
    expect(readRecord(closeRecord('one', 'two', 'r', 'c'))).toEqual({
      kind: 'close',
      by: 'one',
      to: 'two',
      request: 'r',
      connection: 'c',
    });
    expect(readRecord(closedRecord('one', 'two', 'r', true))).toMatchObject({ request: 'r', wasOpen: true });
  });

  it('of another program crash nothing, and are bounded, whatever they hold', () => {
    const kinds = fc.constantFrom('watch', 'report', 'list', 'close', 'closed', 'other');
    const content = fc.oneof(
      fc.string(),
      fc.json(),
      fc.array(fc.jsonValue()).map((rest) => JSON.stringify(['one', ...rest])),
      fc
        .array(
          fc.dictionary(fc.constantFrom('kind', 'key', 'keys', 'rows', 'place', 'total'), fc.jsonValue()),
        )
        .map((rows) => JSON.stringify(['one', 'two', 'view', { rows }])),
    );
    fc.assert(
      fc.property(kinds, content, (topic, data) => {
        const read = readRecord({ topic, data });
        if (read?.kind === 'list') {
          for (const list of ['connections', 'topics', 'keys', 'runs'] as const) {
            expect(joinParts(list, [read.part, read.part]).rows.length).toBeLessThanOrEqual(50);
          }
        }
      }),
    );
  });

  it('hold no more rows, views and counts than there may be, and no name of their own', () => {
    const rows = Array.from({ length: 500 }, () => part.rows[0]!);
    expect(readRecord(listRecord('one', 'two', 'view', { ...part, rows }))).toMatchObject({
      part: { rows: { length: 50 } },
    });
    const views = new Map(Array.from({ length: 500 }, (_, n) => [`view${n}`, query] as const));
    expect(readRecord(watchRecord('one', views))).toMatchObject({ views: { size: 50 } });
    const closed = Object.fromEntries(Array.from({ length: 500 }, (_, n) => [`reason${n}`, 1]));
    const forged = { ...report, id: 'another', counts: { closed, '<b>': { a: 1 } } };
    const read = readRecord(reportRecord('one', forged));
    const known = read?.kind === 'report' ? read.report : undefined;
    expect([known?.id, Object.keys(known!.counts['closed']!).length]).toEqual(['one', 40]);
    expect(known!.counts).not.toHaveProperty('<b>');
    expect(readRecord({ topic: 'watch', data: `["one",${'['.repeat(300_000)}` })).toBeUndefined();
    expect(readRecord(closeRecord('o\ne', 'two', 'r', 'c'))).toBeUndefined();
  });
});
