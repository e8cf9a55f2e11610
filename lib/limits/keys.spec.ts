import { describe, expect, it } from '@jest/globals';
import { SseError } from '../errors/index.js';
import { keysFrom, NO_KEYS } from './keys.js';

describe('the keys of a connection', () => {
  it.each<[string, unknown, readonly string[]]>([
    ['one key', 'user:1', ['user:1']],
    ['several', ['user:1', 'tenant:2'], ['user:1', 'tenant:2']],
    ['each key once', ['a', 'b', 'a'], ['a', 'b']],
    ['the longest key', 'x'.repeat(512), ['x'.repeat(512)]],
    ['characters of any script', '用户😀', ['用户😀']],
    ['eight keys', 'abcdefgh'.split(''), 'abcdefgh'.split('')],
  ])('are %s', (_what, value, keys) => {
    expect(keysFrom(value)).toEqual(keys);
  });

  it.each([undefined, []])('are none for %j', (value) => {
    expect(keysFrom(value)).toBe(NO_KEYS);
  });

  it.each<[unknown, string]>([
    [42, 'Got 42.'],
    [null, 'Got null.'],
    ['', 'Got "".'],
    [{ id: 1 }, 'Got an object.'],
    ['x'.repeat(513), 'Got a string of 513 characters.'],
    ['\ud800', 'Got half a surrogate pair.'],
    [['a', undefined], 'Got a list with undefined.'],
    [['secret', 7], 'Got a list with 7.'],
    ['abcdefghi'.split(''), 'Got 9 keys.'],
  ])('are refused for %j', (value, message) => {
    expect(() => keysFrom(value)).toThrow(SseError);
    expect(() => keysFrom(value)).toThrow(message);
  });

  it('are refused for a promise, whose rejection ends no process', () => {
    expect(() => keysFrom(Promise.reject(new Error('late')))).toThrow(/^keyOf must return/);
  });
});
