import { describe, expect, it } from '@jest/globals';
import { nameOf, partsOf } from './name.js';

// The parts of ids and owners with which a client could try to get the name of another run.
const PARTS = [
  'a',
  ':',
  '1',
  '1:',
  'a:',
  ':a',
  'run:a',
  'run-of:1:a:',
  '1:a:b',
  'a:b',
  '\n',
  '\0',
  '\u{1f600}',
];

describe('the name of a run', () => {
  it('is different for each pair of id and owner', () => {
    const pairs = PARTS.flatMap((id) => [undefined, ...PARTS].map((owner) => ({ id, owner })));
    const names = pairs.map(({ id, owner }) => nameOf(id, owner));

    expect(new Set(names).size).toBe(pairs.length);
    expect(names.map(partsOf)).toEqual(pairs);
  });

  it('of a run without an owner is the same as in version 0.1', () => {
    expect(nameOf('a')).toBe('run:a');
  });
});
