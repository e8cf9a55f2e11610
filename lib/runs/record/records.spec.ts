import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { beginOf, endingOf, instanceOf, openOf, tokenOf } from './records.js';

const begin = {
  owner: 'u',
  format: 'json',
  hasFormat: true,
  headers: { 'x-a': 'b' },
  lost: [{ data: '1', isJson: true }],
  isCut: true,
  isAborted: false,
  presenceMs: 100,
  startedAt: 5,
};
const end = { reason: 'done', events: 2, bytes: 5, isCut: false, isSettled: true };
const text = (value: unknown) => ({ data: JSON.stringify(value) });

describe('a record of a run', () => {
  it('is read as it was written', () => {
    expect(beginOf(text(begin))).toEqual(begin);
    expect(endingOf(text({ ...end, failure: { message: 'x', status: 500 } }))).toMatchObject(end);
    expect([tokenOf(text(7)), instanceOf(text('a')), openOf(text(['id', 'key']))]).toEqual([
      7,
      'a',
      ['id', 'key'],
    ]);
  });

  it.each([
    null,
    5,
    [],
    {},
    { ...begin, lost: null },
    { ...begin, lost: [null] },
    { ...begin, lost: [{ data: 5, isJson: false }] },
    { ...begin, headers: { a: 5 } },
    { ...begin, headers: { 'a\n': 'b' } },
    { ...begin, owner: {} },
    { ...begin, presenceMs: 'x' },
    { ...begin, presenceMs: 0 },
    { ...begin, isCut: 'no' },
  ])('begins no run if another program wrote it: %j', (value) => {
    expect(beginOf(text(value))).toBeUndefined();
  });

  it.each([null, 5, {}, { ...end, reason: 'because' }, { ...end, events: '2' }, { ...end, failure: 'x' }])(
    'ends a run as a failure if another program wrote it: %j',
    (value) => {
      expect(endingOf(text(value))).toMatchObject({ reason: 'error', isCut: true, isSettled: true });
    },
  );

  it.each<unknown>([{ toString: 1, valueOf: 1 }, ['7'], '7', null, {}])(
    'has no token if another program wrote it: %j',
    (value) => {
      expect(tokenOf(text(value))).toBeNaN();
    },
  );

  it('never throws when it is read', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.jsonValue().map((value) => JSON.stringify(value)),
          fc.string(),
        ),
        (data) => {
          for (const read of [beginOf, endingOf, tokenOf, instanceOf, openOf]) {
            read({ data });
          }
        },
      ),
    );
  });
});
