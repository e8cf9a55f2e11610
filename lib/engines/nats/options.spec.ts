import { describe, expect, it } from '@jest/globals';
import { SseError } from '../../errors/sse.error.js';
import { nats } from './index.js';
import type { NatsLogOptions } from './index.js';
import { refuseOld } from './link.js';

const connection = {
  publish: () => undefined,
  request: async () => undefined,
  subscribe: () => undefined,
  status: async function* status() {},
  isClosed: () => false,
};

const refusalOf = (work: () => unknown): SseError => {
  try {
    work();
  } catch (error) {
    return error as SseError;
  }
  throw new Error('Nothing was refused.');
};

describe('nats() refuses', () => {
  const servers = 'localhost';

  it.each<[string, unknown, string | undefined, string]>([
    ['what is no object', 5, undefined, 'The options of nats() are an object, got 5.'],
    ['null', null, undefined, 'The options of nats() are an object, got null.'],
    [
      'an option that it has not',
      { servers, maxEvent: 5 },
      'maxEvent',
      'nats() has no option "maxEvent". The',
    ],
    ['no server', {}, 'connection', "nats() needs a server: nats({ servers: 'nats://localhost:4222' })"],
    ['two servers', { servers, connection }, 'connection', 'either connection or servers, got both.'],
    ['a connection to be', { connection: Promise.resolve() }, 'connection', 'got a promise: await it first.'],
    ['another connection', { connection: {} }, 'connection', 'got an object.'],
    ['an empty list of servers', { servers: [] }, 'servers', "such as 'nats://localhost:4222', or several."],
    ['a server that is none', { servers: 'a b' }, 'servers', 'or several.'],
    ['a server of another kind', { servers: [4222] }, 'servers', 'or several.'],
    ['a prefix with dots', { servers, prefix: 'a.b' }, 'prefix', 'letters, digits and _ -, got "a.b".'],
    ['an empty name', { servers, log: '' }, 'log', 'log of nats() must be 1 to 64'],
    ['maxEvents of 0', { servers, maxEvents: 0 }, 'maxEvents', 'must be a whole number, 1 or more, got 0.'],
    ['half an event', { servers, maxEvents: 1.5 }, 'maxEvents', 'got 1.5.'],
    ['no limit by a name', { servers, maxBytes: Infinity }, 'maxBytes', 'got Infinity.'],
    ['an age that JetStream has not', { servers, maxAgeMs: 99 }, 'maxAgeMs', '100 to 9007199254, got 99.'],
    ['more replicas than there are', { servers, replicas: 6 }, 'replicas', 'a whole number, 1 to 5, got 6.'],
    ['another storage', { servers, storage: 'disk' }, 'storage', 'must be "file" or "memory", got "disk".'],
    ['a timeout of 0', { servers, requestTimeoutMs: 0 }, 'requestTimeoutMs', 'from 1 to 2147483647, got 0.'],
    ['an endless publish', { servers, publishTimeoutMs: Infinity }, 'publishTimeoutMs', 'got Infinity.'],
    ['a start of text', { servers, startTimeoutMs: '1' }, 'startTimeoutMs', 'got "1".'],
    ['NaN', { servers, maxPendingBytes: Number.NaN }, 'maxPendingBytes', 'got NaN.'],
  ])('%s, and says what to do', (_what, options, field, message) => {
    const error = refusalOf(() => nats(options as NatsLogOptions));
    expect(error).toBeInstanceOf(SseError);
    expect([error.code, error.field]).toEqual(['options-invalid', field]);
    expect(error.message).toContain(message);
  });

  it('no password into a message', () => {
    const error = refusalOf(() => nats({ servers: 'nats://user:secret word@host' }));
    expect(error.message).not.toContain('secret');
  });

  it.each<NatsLogOptions>([
    { connection },
    { servers: 'nats://localhost:4222' },
    { servers: ['a:1', 'b:2'], startTimeoutMs: Infinity, maxEvents: 1, maxBytes: 1, maxAgeMs: 100 },
  ])('nothing of what it takes, and connects when the app starts', (options) => {
    expect(nats(options)).toEqual(expect.any(Function));
  });
});

describe('A server', () => {
  it.each(['2.8.4', '1.4.1', '0.9.0'])('of version %s is too old', (version) => {
    const error = refusalOf(() => refuseOld(version));
    expect([error.code, error.message]).toEqual([
      'options-invalid',
      `nats() needs nats-server 2.9 or later, and this one is ${version}.`,
    ]);
  });

  it.each(['2.9.0', '2.9.10', '2.10.22-RC.1', '2.12.0', '3.0.0-dev'])('of version %s is not', (version) => {
    expect(() => refuseOld(version)).not.toThrow();
  });
});
