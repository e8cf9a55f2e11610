import { describe, expect, it } from '@jest/globals';
import { problemOf } from '../index.js';
import { pageOf, sentRecord, tailsOf } from './replies.js';

const head = JSON.stringify(['7', 'epoch', '3', '0000000c', '2', 'old:1', '10', '1000']);
const row = (kind: string, data: string | null, type: string | null = null) => ({
  head: null,
  sequence: '3',
  nonce: '0000000c',
  previous: '0000000b',
  time: '5',
  kind,
  topic: 'a',
  type,
  data,
});
const limits = { maxEventBytes: 1_000 };

describe('a reply of PostgreSQL', () => {
  it('has the head and the entries of a page', () => {
    const page = pageOf([{ head }, row('1', '{}', 'b')])!;
    expect(page).toMatchObject({
      id: '7',
      head: { epoch: 'epoch', sequence: 3, nonce: '0000000c' },
      first: 2,
      maxEvents: 10,
      ttlMs: 1_000,
      former: 'old:1',
    });
    expect(page.entries[0]).toMatchObject({
      sequence: 3,
      previous: '0000000b',
      unchecked: { topic: 'a', type: 'b', data: '{}', isJson: true, time: 5 },
    });
    expect(pageOf([])).toBeUndefined();
  });

  it('has each log that is there in its place', () => {
    const tail = JSON.stringify(['epoch', '3', '0000000c', '', null]);
    const rows = [
      { n: '2', head: tail },
      { ...row('0', 'x'), n: '2' },
    ];
    const [first, second, third] = tailsOf(rows, 3);
    expect([first, third]).toEqual([undefined, undefined]);
    expect(second).toMatchObject({ anchor: undefined, head: { sequence: 3 }, entries: [{ sequence: 3 }] });
  });

  it.each(['', 'text', 'a\0b', '\0', '"\\u0000"', 'a\u2028b'])(
    'gives back the text %j that was sent',
    (data) => {
      const { k, d } = sentRecord({ topic: 'a', data, isJson: false }, '0000000c');
      expect(d).not.toContain('\0');
      expect(pageOf([{ head }, row(k, d)])!.entries[0]!.unchecked).toMatchObject({ data, isJson: false });
    },
  );

  it.each([
    ['9', 'x'],
    ['2', 'no JSON'],
    ['2', '5'],
    ['1', 'no JSON'],
    ['0', null],
  ])('with the kind %s and the data %j is refused by the check', (kind, data) => {
    expect(problemOf(pageOf([{ head }, row(kind, data)])!.entries[0]!.unchecked, limits)).toBeDefined();
  });

  it('holds no half of a surrogate pair, which PostgreSQL refuses', () => {
    expect(sentRecord({ topic: 'a', type: '\ud800', data: '\udc00', isJson: false }, 'n')).toMatchObject({
      y: '\ufffd',
      d: '\ufffd',
    });
  });
});
