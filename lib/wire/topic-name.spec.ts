import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { codePoint } from '../../test/support/code-point.js';
import { SseError } from '../errors/sse.error.js';
import { MAX_TOPIC_LENGTH } from './topic.js';
import { matches } from '../topics/pattern-trie.js';
import { parsePattern, parseTopic, tokenOf, topic } from './topic-name.js';

const refusalOf = (parsing: () => unknown): SseError => {
  try {
    parsing();
  } catch (error) {
    return error as SseError;
  }
  throw new Error('Nothing was refused.');
};

const anyText = fc.oneof(
  fc.string({ unit: codePoint, maxLength: 20 }),
  fc
    .array(fc.constantFrom('*', '>', '.', '%', '%2A', ' ', '', '\ud800', '\udc00', '😀', 'é', '/', '$'), {
      maxLength: 6,
    })
    .map((parts) => parts.join('')),
);

describe('topic`…`', () => {
  it('makes one token of any value, without a wildcard, a dot or a space', () => {
    fc.assert(
      fc.property(anyText, (value) => {
        expect(topic`${value}`).toMatch(/^[A-Za-z0-9_%-]+$/);
      }),
    );
  });

  it('makes different tokens of different values', () => {
    fc.assert(
      fc.property(anyText, anyText, (a, b) => {
        expect(topic`x.${a}` === topic`x.${b}`).toBe(a === b);
      }),
      { numRuns: 2_000 },
    );
    const singles = Array.from({ length: 0x1_0000 }, (_, code) => String.fromCharCode(code));
    expect(new Set(singles.map((value) => topic`${value}`)).size).toBe(singles.length);
    const rest = Array.from({ length: 0x1_0000 }, (_, code) => String.fromCodePoint(0x1_0000 + code * 16));
    expect(new Set([...rest, ...singles].map((value) => topic`${value}`)).size).toBe(0x2_0000);
  });

  it('refuses values that are glued, so that others would give the same topic', () => {
    const [a, b] = ['1-2', '3'];
    const glued = [
      () => topic`pairs.${a}-${b}`,
      () => topic`pairs.${a}${b}`,
      () => topic`pairs.${a}_x_${b}.rest`,
      () => topic`pairs.${a}%${b}`,
      () => topic`${a}.x.${b}-${a}`,
    ];
    for (const naming of glued) {
      expect(refusalOf(naming)).toMatchObject({
        code: 'topic-invalid',
        message: expect.stringMatching(/glued/),
      });
    }
  });

  it('makes different topics of different pairs of values', () => {
    fc.assert(
      fc.property(anyText, anyText, anyText, anyText, (a, b, c, d) => {
        const isSame = a === c && b === d;
        expect(topic`x.${a}.${b}` === topic`x.${c}.${d}`).toBe(isSame);
        expect(topic`x-${a}~${b}-y` === topic`x-${c}~${d}-y`).toBe(isSame);
        expect(topic`${a}.-.${b}` === topic`${c}.-.${d}`).toBe(isSame);
      }),
      { numRuns: 2_000 },
    );
  });

  it('follows nobody but the value itself', () => {
    fc.assert(
      fc.property(anyText, anyText, (mine, other) => {
        fc.pre(topic`users.${mine}.orders`.length <= MAX_TOPIC_LENGTH);
        const pattern = parsePattern(topic`users.${mine}.>`);
        expect(pattern).toHaveLength(3);
        expect(matches(pattern, parseTopic(topic`users.${mine}.orders`))).toBe(true);
        // Interpolated plainly, a value of several tokens is what its first one says.
        const tokens = other.split('.');
        expect(matches(pattern, ['users', ...tokens, 'orders'])).toBe(tokens[0] === topic`${mine}`);
      }),
    );
  });

  it.each<[string, string, string]>([
    ['letters, digits, _ and - as they are', topic`orders.${'Az09_-'}.x`, 'orders.Az09_-.x'],
    ['a number', topic`orders.${42}.status`, 'orders.42.status'],
    ['a negative one with a fraction', topic`t.${-1.5}`, 't.-1%2E5'],
    ['a bigint', topic`t.${12345678901234567890n}`, 't.12345678901234567890'],
    ['a boolean', topic`t.${true}`, 't.true'],
    ['wildcards', topic`t.${'*'}.${'>'}`, 't.%2A.%3E'],
    ['dots, @ and %', topic`t.${'a.b@c%'}`, 't.a%2Eb%40c%25'],
    ['UTF-8', topic`t.${'é😀'}`, 't.%C3%A9%F0%9F%98%80'],
    ['half a pair', topic`t.${'\ud83d'}.${'\ude00x'}`, 't.%uD83D.%uDE00x'],
    ['an empty value', topic`t.${''}.x`, 't.%.x'],
    ['a value within a token', topic`room-${7}.x`, 'room-7.x'],
    ['no value', topic`orders.>`, 'orders.>'],
  ])('writes %s', (_what, written, expected) => {
    expect(written).toBe(expected);
    expect(parsePattern(written)).toEqual(expected.split('.'));
  });

  it.each<[unknown, string]>([
    [undefined, 'got undefined'],
    [null, 'got null'],
    [{ id: 5 }, 'got an object'],
    [['a'], 'got an array'],
    [Object.create(null), 'got an object'],
    [Symbol('x'), 'got a symbol'],
    [() => 'x', 'got a function'],
  ])('refuses a value of %p', (value, message) => {
    const error = refusalOf(() => tokenOf(value));
    expect(error).toBeInstanceOf(SseError);
    expect(error.code).toBe('topic-invalid');
    expect(error.message).toContain(`A value in a topic is a string, a number or a boolean, ${message}.`);
  });
});

describe('parseTopic and parsePattern', () => {
  const long = (length: number) => 'x'.repeat(length);
  const deep = (tokens: number) => Array.from({ length: tokens }, () => 'x').join('.');

  it.each([
    ['a', ['a']],
    ['orders.42.status', ['orders', '42', 'status']],
    ['a-b_c:d/e@f%20$^+[]{}|\\\'"', ['a-b_c:d/e@f%20$^+[]{}|\\\'"']],
    ['!.~', ['!', '~']],
    [deep(16), deep(16).split('.')],
    [long(256), [long(256)]],
  ])('read %s', (name, tokens) => {
    expect(parseTopic(name)).toEqual(tokens);
    expect(parsePattern(name)).toEqual(tokens);
  });

  it.each([
    ['*', ['*']],
    ['>', ['>']],
    ['a.*.c', ['a', '*', 'c']],
    ['*.*.>', ['*', '*', '>']],
  ])('take %s for a pattern, and for no topic', (name, tokens) => {
    expect(parsePattern(name)).toEqual(tokens);
    const error = refusalOf(() => parseTopic(name));
    expect(error.code).toBe('topic-invalid');
    expect(error.message).toBe(
      `Topic "${name}" has the wildcard "${name.includes('*') ? '*' : '>'}". Events are published to one topic; ` +
        'a value that may hold such characters belongs into the topic`…` template, which escapes it.',
    );
  });

  it.each<[string, unknown, string]>([
    ['a number', 5, 'is a string of tokens joined by dots, got 5.'],
    ['undefined', undefined, 'is a string of tokens joined by dots, got undefined.'],
    ['null', null, 'is a string of tokens joined by dots, got null.'],
    ['an object', {}, 'is a string of tokens joined by dots, got an object.'],
    ['nothing', '', '"" has 0 characters; it has 1 to 256.'],
    ['257 characters', long(257), `"${long(80)}…" has 257 characters; it has 1 to 256.`],
    ['17 tokens', deep(17), 'has 17 tokens; it has 16 at most.'],
    ['a dot at the start', '.a', '".a" has an empty token: a dot too many.'],
    ['a dot at the end', 'a.', '"a." has an empty token: a dot too many.'],
    ['two dots', 'a..b', '"a..b" has an empty token: a dot too many.'],
    [
      'a space',
      'a b',
      '"a b" contains a space or a character that is not printable ASCII. Topics are tokens',
    ],
    ['a line break', 'a\nb', '"a\\nb" contains a space or a character that is not printable ASCII.'],
    ['a NUL', 'a\0', '"a\\u0000" contains'],
    ['what is not ASCII', 'größe', '"größe" contains'],
    ['what a terminal acts on', 'a\u007f\u009b31m\u2028', '"a\\u007f\\u009b31m\\u2028" contains'],
    ['half a pair', 'a\ud800', '"a\\ud800" contains'],
    [
      '* within a token',
      'a.b*',
      'has a wildcard within the token "b*". "*" and ">" stand alone between dots.',
    ],
    ['> within a token', '>a', 'has a wildcard within the token ">a".'],
    ['two wildcards in one token', 'a.**', 'has a wildcard within the token "**".'],
  ])('refuse %s, and say why', (_what, name, message) => {
    for (const [what, parse] of [
      ['Topic', parseTopic],
      ['Pattern', parsePattern],
    ] as const) {
      const error = refusalOf(() => parse(name));
      expect(error).toBeInstanceOf(SseError);
      expect(error.code).toBe('topic-invalid');
      expect(error.message).toContain(message);
      expect(error.message.startsWith(`${what} `)).toBe(true);
      expect(error.message).not.toMatch(/[\0-\u001f\u007f-\u009f\u2028\u2029\ud800-\udfff]/);
    }
  });

  it.each(['>.a', 'a.>.b', '>.>'])('refuse %s: the rest comes last', (name) => {
    expect(refusalOf(() => parsePattern(name)).message).toBe(
      `Pattern "${name}" has ">" before its end. It stands for all the rest.`,
    );
  });
});
