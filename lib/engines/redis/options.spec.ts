import { describe, expect, it } from '@jest/globals';
import { SseError } from '../../errors/sse.error.js';
import { redis } from './index.js';
import type { RedisLogOptions } from './index.js';

const refusalOf = (options: unknown): SseError => {
  try {
    redis(options as RedisLogOptions);
  } catch (error) {
    return error as SseError;
  }
  throw new Error('Nothing was refused.');
};

const unused = () => {
  throw new Error('Nothing is asked of a client before the log is made.');
};
const ioredis = { duplicate: unused, connect: unused, disconnect: unused, call: unused };
const nodeRedis = { duplicate: unused, connect: unused, destroy: unused, sendCommand: unused };
const { duplicate: _, ...sentinel } = nodeRedis;
const url = 'redis://localhost:6379';

describe('redis() refuses', () => {
  it.each<[string, unknown, string | undefined, string]>([
    ['what is no object', 5, undefined, 'The options of redis() are an object, got 5.'],
    ['null', null, undefined, 'The options of redis() are an object, got null.'],
    ['an option that it has not', { url, maxEvent: 5 }, 'maxEvent', 'redis() has no option "maxEvent". The'],
    ['no server', {}, 'client', "redis() needs a server: redis({ url: 'redis://localhost:6379' })"],
    ['two servers', { url, client: ioredis }, 'client', 'either client or url, got both.'],
    ['a client of something else', { client: {} }, 'client', 'or a function that makes one, got an object.'],
    ['a client that cannot be duplicated', { client: sentinel }, 'client', '() => createSentinel('],
    ['the url of another thing', { url: 'http://a' }, 'url', 'begins with redis:// or rediss://.'],
    ['a prefix with a brace', { url, prefix: 'a}' }, 'prefix', 'letters, digits and _ . : -, got "a}".'],
    ['an empty name', { url, log: '' }, 'log', 'log of redis() must be 1 to 64'],
    ['a long name', { url, log: 'x'.repeat(65) }, 'log', 'log of redis() must be 1 to 64'],
    ['maxEvents of 0', { url, maxEvents: 0 }, 'maxEvents', 'must be a whole number, 1 or more, got 0.'],
    ['half a millisecond', { url, maxAgeMs: 0.5 }, 'maxAgeMs', 'got 0.5.'],
    ['an endless publish', { url, publishTimeoutMs: Infinity }, 'publishTimeoutMs', 'got Infinity.'],
    ['a timeout of 0', { url, commandTimeoutMs: 0 }, 'commandTimeoutMs', 'from 1 to 2147483647, got 0.'],
    ['a start of text', { url, startTimeoutMs: '1' }, 'startTimeoutMs', 'got "1".'],
    ['NaN', { url, maxPendingBytes: Number.NaN }, 'maxPendingBytes', 'got NaN.'],
  ])('%s, and says what to do', (_what, options, field, message) => {
    const error = refusalOf(options);
    expect(error).toBeInstanceOf(SseError);
    expect([error.code, error.field]).toEqual(['options-invalid', field]);
    expect(error.message).toContain(message);
  });

  it('nothing of a url, which may hold a password, by its words', () => {
    expect(refusalOf({ url: 'https://app:secret@host' }).message).not.toContain('secret');
  });
});

describe('redis() takes', () => {
  it.each<[string, RedisLogOptions]>([
    ['a url', { url }],
    ['a client by the shape of ioredis', { client: ioredis }],
    ['a client by the shape of node-redis', { client: nodeRedis }],
    ['a function that makes clients', { client: () => sentinel }],
    [
      'every option',
      { url, prefix: 'a.b:c-d_e', log: 'x', maxEvents: 1, maxAgeMs: 1, startTimeoutMs: Infinity },
    ],
  ])('%s', (_what, options) => {
    expect(typeof redis(options)).toBe('function');
  });

  it('nothing from a client before the app starts', () => {
    const store = redis({ client: ioredis })();
    expect([store.isShared, store.health.state]).toEqual([true, 'down']);
  });

  it('no function that makes something else', async () => {
    const store = redis({ client: () => ({}), startTimeoutMs: Infinity })();
    const listener = { onRecords: () => undefined, onReset: () => undefined };
    await expect(store.log.follow(listener)).rejects.toMatchObject({
      message: expect.stringContaining('must return a client of ioredis or node-redis, got an object.'),
    });
    await store.close();
  });
});
