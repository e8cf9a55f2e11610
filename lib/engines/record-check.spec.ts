import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { codePoint } from '../../test/support/code-point.js';
import { encodeRecord } from '../wire/index.js';
import { problemOf, RecordCheck } from './record-check.js';
import type { UncheckedRecord } from './record-check.js';

const NO_LIMIT = { maxEventBytes: Infinity };
const good = {
  sequence: 1,
  nonce: '0000abcd',
  topic: 'orders.42',
  type: 'changed',
  data: '{"total":5}',
  isJson: true,
  time: 1_700_000_000_000,
};
const anything = fc.anything({ withBigInt: true, withDate: true, withMap: true, withTypedArray: true });

describe('What is read from an engine', () => {
  it.each([
    ['an event', {}],
    ['one without a type', { type: undefined }],
    ['a text, with line breaks', { isJson: false, data: 'a\r\nid: 1' }],
    ['a topic with what patterns have within a token', { topic: '!a.*~' }],
    ['the longest topic', { topic: `${'ab.'.repeat(15)}${'c'.repeat(211)}` }],
  ])('is taken: %s', (_name, change) => {
    expect(problemOf({ ...good, ...change }, NO_LIMIT)).toBeUndefined();
  });

  it.each<[string, UncheckedRecord]>([
    ['no sequence', { sequence: undefined }],
    ['a sequence of 0', { sequence: 0 }],
    ['a sequence past 2^53', { sequence: 2 ** 53 }],
    ['a nonce of nine digits', { nonce: '0000abcd0' }],
    ['a nonce that stands for none', { nonce: '00000000' }],
    ['no nonce', { nonce: 'NaN' }],
    ['an empty topic', { topic: '' }],
    ['a topic with a space', { topic: 'a b' }],
    ['a topic with an empty token', { topic: 'a..b' }],
    ['a topic that ends in a dot', { topic: 'a.' }],
    ['a topic with a wildcard', { topic: 'a.*.b' }],
    ['a topic that is one', { topic: '>' }],
    ['a topic of 17 tokens', { topic: Array(17).fill('a').join('.') }],
    ['a topic of 257 characters', { topic: 'a'.repeat(257) }],
    ['a type that forges an id', { type: 'x\nid: 1' }],
    ['a type with a carriage return', { type: 'x\rdata: 1' }],
    ['a type that is no text', { type: 5 }],
    ['no data', { data: undefined }],
    ['data that is no JSON', { data: '{"total":' }],
    ['JSON on two lines', { data: '[1,\n2]' }],
    ['JSON behind a carriage return', { data: '\r[1]' }],
    ['empty JSON', { data: '' }],
    ['no word of JSON', { isJson: undefined }],
    ['a time that is none', { time: NaN }],
    ['a time before 1970', { time: -1 }],
    ['a time past all dates', { time: 8.64e15 + 1 }],
  ])('is refused: %s', (_name, change) => {
    expect(problemOf({ ...good, ...change }, NO_LIMIT)).toMatch(/^its .*got /);
  });

  it('is refused if its frame is larger than maxEventBytes, with the longest id', () => {
    const bytes = Buffer.byteLength(encodeRecord(good, '0'.repeat(58)));
    expect(problemOf(good, { maxEventBytes: bytes })).toBeUndefined();
    expect(problemOf(good, { maxEventBytes: bytes - 1 })).toBe(
      `it has ${bytes} bytes, and maxEventBytes is ${bytes - 1}`,
    );
    const lines = { ...good, isJson: false, data: '\n'.repeat(100) };
    expect(problemOf(lines, { maxEventBytes: 300 })).toMatch(/^it has \d+ bytes/);
  });

  it('never throws, and never lets a frame of more than one event through', () => {
    const field = fc.oneof(
      anything,
      fc.string({ unit: codePoint }),
      fc.constantFrom('\n', '\r', '\nid: 1\n\n', 'null'),
    );
    const forged = fc.record<UncheckedRecord>({
      sequence: fc.oneof(anything, fc.constant(1)),
      nonce: fc.oneof(field, fc.constant(good.nonce)),
      topic: fc.oneof(field, fc.constant('a')),
      type: fc.oneof(field, fc.constant(undefined)),
      data: field,
      isJson: fc.oneof(anything, fc.boolean()),
      time: fc.oneof(anything, fc.constant(5)),
    });
    fc.assert(
      fc.property(forged, (record) => {
        if (problemOf(record, NO_LIMIT) === undefined) {
          const frame = encodeRecord(record as typeof good, 'e-1-0000abcd');
          expect(frame.match(/^id: /gm)).toHaveLength(1);
          expect(frame.match(/^$/gm)).toHaveLength(2);
          expect(frame.endsWith('\n\n')).toBe(true);
        }
      }),
      { numRuns: 2_000 },
    );
  });

  it('is logged when it is refused, and not for each of many', () => {
    const warned: string[] = [];
    const check = new RecordCheck('Redis', { warn: (message) => warned.push(message) });
    expect(check.accept(good, NO_LIMIT, () => 'entry 1-5')).toBe(good);
    for (let n = 0; n < 1_000; n += 1) {
      expect(check.accept({ ...good, topic: '\u001b[2J' }, NO_LIMIT, () => 'entry 1-5')).toBeUndefined();
    }
    expect(check.refused).toBe(1_000);
    expect(warned).toEqual([
      expect.stringMatching(
        /^Redis: entry 1-5 is no event of this log and was left out: its topic .*\\u001b/,
      ),
    ]);
  });
});
