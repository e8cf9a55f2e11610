import { describe, expect, it } from '@jest/globals';
import { unreachable } from './unreachable.js';

const failed = (code: string, place: object = {}) =>
  Object.assign(new Error(`connect ${code}`), { code, ...place });

describe('unreachable', () => {
  it.each([
    [
      'a port on which nothing listens',
      failed('ECONNREFUSED', { address: '127.0.0.1', port: 6379 }),
      'Cannot reach Redis at 127.0.0.1:6379: ECONNREFUSED',
    ],
    [
      'a name without an address',
      failed('ENOTFOUND', { hostname: 'redis.internal' }),
      'Cannot reach Redis at redis.internal: ENOTFOUND',
    ],
    ['an error without an address', failed('ETIMEDOUT'), 'Cannot reach Redis at app.given:1: ETIMEDOUT'],
    [
      "a library's error around it",
      new Error('connection refused', { cause: failed('ECONNREFUSED', { address: '::1', port: 1 }) }),
      'Cannot reach Redis at [::1]:1: ECONNREFUSED',
    ],
    [
      'a name with two addresses',
      new AggregateError([
        failed('ECONNREFUSED', { address: '::1', port: 1 }),
        failed('ECONNREFUSED', { address: '127.0.0.1', port: 1 }),
      ]),
      'Cannot reach Redis at [::1]:1 and 127.0.0.1:1: ECONNREFUSED',
    ],
  ])('names server and reason of %s', (_name, error, message) => {
    expect(unreachable('Redis', error, 'app.given:1')).toBe(message);
  });

  it.each([
    [undefined],
    ['ECONNREFUSED'],
    [new Error('WRONGPASS invalid password')],
    [failed('ERR_INVALID_URL')],
  ])('says nothing of %p', (error) => {
    expect(unreachable('Redis', error)).toBeUndefined();
  });
});
