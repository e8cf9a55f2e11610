import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { codePoint } from '../../test/support/code-point.js';
import { isId } from './id.js';
import { formatPosition, NO_NONCE, parsePosition } from './position.js';

const text = (characters: string, minLength: number, maxLength: number) =>
  fc
    .array(fc.constantFrom(...Array.from(characters)), { minLength, maxLength })
    .map((chosen) => chosen.join(''));
const parts = fc.record({
  epoch: text('0123456789abcdefghijklmnopqrstuvwxyz', 1, 32),
  sequence: fc.oneof(fc.nat(100), fc.maxSafeNat()),
  nonce: text('0123456789abcdef', 8, 8),
});

describe('a position', () => {
  it('is read as it was written, and can be an id', () => {
    fc.assert(
      fc.property(parts, (position) => {
        const id = formatPosition(position);
        expect(parsePosition(id)).toEqual(position);
        expect(isId(id)).toBe(true);
      }),
    );
  });

  it('cut short is none', () => {
    fc.assert(
      fc.property(parts, fc.nat(), (position, length) => {
        const id = formatPosition(position);
        expect(parsePosition(id.slice(0, length % id.length))).toBeUndefined();
      }),
    );
  });

  it('has one spelling: whatever is read as one is written back the same', () => {
    const forged = fc.oneof(
      fc.string({ unit: codePoint }),
      text('0123456789abcdefzA- .\n', 0, 40),
      // Nearly one: a character put in, taken out or changed.
      fc
        .tuple(parts, fc.nat(), fc.nat(1), text('0123456789abcdefxXA-+. \n\u0000é', 0, 2))
        .map(([position, at, taken, put]) => {
          const id = formatPosition(position);
          const index = at % (id.length + 1);
          return id.slice(0, index) + put + id.slice(index + taken);
        }),
    );
    fc.assert(
      fc.property(forged, (id) => {
        const read = parsePosition(id);
        if (read) {
          expect(formatPosition(read)).toBe(id);
          expect(Number.isSafeInteger(read.sequence)).toBe(true);
        }
      }),
      { numRuns: 2_000 },
    );
  });

  it.each([
    '',
    '-',
    '--',
    'e-1',
    'e-1-',
    '-1-0123abcd',
    'e--0123abcd',
    'e-01-0123abcd',
    'e-+1-0123abcd',
    'e--1-0123abcd',
    'e-1.0-0123abcd',
    'e-1e3-0123abcd',
    'e-9007199254740992-0123abcd',
    'e-99999999999999999999-0123abcd',
    'e-1-0123ABCD',
    'e-1-0123abc',
    'e-1-0123abcde',
    'E-1-0123abcd',
    'e f-1-0123abcd',
    `${'e'.repeat(33)}-1-0123abcd`,
    ' e-1-0123abcd',
    'e-1-0123abcd ',
    'e-1-0123abcd\n',
    '\ne-1-0123abcd',
    'e-٣-0123abcd',
    'e-1-0123abcd-1',
    '42',
    'f81d4fae-7dec-11d0-a765-00a0c91e6bf6',
  ])('is not %j', (id) => {
    expect(parsePosition(id)).toBeUndefined();
  });

  it('before the first event has a nonce that stands for none', () => {
    expect(parsePosition(formatPosition({ epoch: 'e', sequence: 0, nonce: NO_NONCE }))).toEqual({
      epoch: 'e',
      sequence: 0,
      nonce: '00000000',
    });
  });
});
