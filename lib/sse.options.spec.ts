import { describe, expect, it } from '@jest/globals';
import { SseError } from './errors/sse.error.js';
import { DEFAULT_LIMITS } from './limits/index.js';
import { resolveOptions, resolveSettings } from './sse.options.js';
import { DEFAULT_PRESENCE } from './topics/index.js';
import type { SseModuleOptions } from './sse.options.js';

const refusalOf = (options: unknown): SseError => {
  try {
    resolveOptions(options as SseModuleOptions);
  } catch (error) {
    return error as SseError;
  }
  throw new Error(`Nothing was refused of ${JSON.stringify(options)}.`);
};

describe('resolveOptions', () => {
  it('has a default for everything', () => {
    const connection = {
      heartbeatMs: 15_000,
      retryMs: 3_000,
      maxConnectionMs: undefined,
      maxBufferedBytes: 1_048_576,
      maxBurstBytes: 16_777_216,
      maxEventBytes: 1_048_576,
      expiresAt: undefined,
      revocable: false,
      compression: false,
      hasKeys: false,
    };
    expect(resolveOptions()).toEqual({
      connection,
      sseRoutes: { ...connection, maxBufferedBytes: 4_194_304 },
      runs: {
        leaseMs: 10_000,
        ringBytes: 8_388_608,
        maxLagMs: 60_000,
        maxRuns: Infinity,
        maxEventBytes: 1_048_576,
      },
      maxConnections: Infinity,
      drain: { delayMs: 0, timeoutMs: 1_000, leastRetryMs: 0, spreadMs: 5_000 },
      enhanceSseRoutes: true,
      topics: {
        resetEvent: 'reset',
        cursorEvent: 'cursor',
        maxEventBytes: 1_048_576,
        maxReplayEvents: 100_000,
        ringEvents: 10_000,
        ringBytes: 67_108_864,
        maxPatterns: 100,
        maxLagMs: 60_000,
        presence: DEFAULT_PRESENCE,
        authorize: undefined,
      },
      limits: DEFAULT_LIMITS,
      log: expect.any(Function),
    });
  });

  it('derives the grace of members from the times in which clients come back', () => {
    const graceOf = (options: SseModuleOptions) => resolveOptions(options).topics.presence.graceMs;
    expect(graceOf({ retryMs: 1_000, drain: { spreadMs: 20_000, leastRetryMs: 300 } })).toBe(22_300);
    expect(graceOf({ retryMs: 1_000, presence: { graceMs: 0 } })).toBe(0);
    expect(graceOf({ retryMs: 2 ** 31 - 1 })).toBe(2 ** 31 - 1);
  });

  it('takes each limit, and maxPatterns by its former name', () => {
    const { limits, topics } = resolveOptions({ limits: { connectionsPerKey: 5 }, maxPatterns: 7 });
    expect(limits).toEqual({ ...DEFAULT_LIMITS, connectionsPerKey: 5, patternsPerConnection: 7 });
    expect(topics.maxPatterns).toBe(7);
    const both = resolveOptions({ limits: { patternsPerConnection: 9 }, maxPatterns: 7 });
    expect(both.topics.maxPatterns).toBe(9);
  });

  it.each<SseModuleOptions>([{ keyOf: () => 'a' }, { tickets: { secret: 'x'.repeat(32) } }])(
    'takes revocable with %j',
    (options) => {
      expect(resolveOptions({ ...options, revocable: true }).connection.revocable).toBe(true);
    },
  );

  it('lets a burst be as large as what may wait, if maxBurstBytes is not set', () => {
    expect(resolveOptions({ maxBufferedBytes: 50_000_000 }).connection.maxBurstBytes).toBe(50_000_000);
    expect(resolveOptions({ maxBufferedBytes: 50_000_000, maxBurstBytes: 9 }).connection.maxBurstBytes).toBe(
      9,
    );
    expect(resolveOptions({ maxBufferedBytes: 1 }).sseRoutes.maxBurstBytes).toBe(16_777_216);
  });

  it('uses a given maxBufferedBytes for both endpoint styles', () => {
    const { connection, sseRoutes } = resolveOptions({ maxBufferedBytes: 2_000_000 });
    expect(sseRoutes).toEqual(connection);
    expect(connection.maxBufferedBytes).toBe(2_000_000);
  });

  it('accepts values in range', () => {
    const options = { heartbeatMs: false, retryMs: 0, maxConnectionMs: 1, drain: { delayMs: 0 } } as const;
    expect(resolveOptions(options).connection).toMatchObject({
      heartbeatMs: false,
      retryMs: 0,
      maxConnectionMs: 1,
    });
  });

  it.each([
    [
      { heartbeatMs: -1 },
      'heartbeatMs',
      'heartbeatMs must be a number of milliseconds from 10 to 2147483647, or false, got -1.',
    ],
    [{ heartbeatMs: Number.NaN }, 'heartbeatMs', 'got NaN'],
    [{ heartbeatMs: true }, 'heartbeatMs', 'got true'],
    [{ heartbeatMs: 2 ** 31 }, 'heartbeatMs', 'from 10 to 2147483647'],
    [{ retryMs: 1.5 }, 'retryMs', 'retryMs must be a whole number, 0 to 2147483647, got 1.5.'],
    [{ retryMs: '3000' }, 'retryMs', 'got "3000"'],
    [{ maxConnections: 0 }, 'maxConnections', '1 or more, got 0'],
    [{ maxConnectionMs: 0 }, 'maxConnectionMs', '1 or more, got 0'],
    [{ maxBufferedBytes: -5 }, 'maxBufferedBytes', 'got -5'],
    [{ maxEventBytes: null }, 'maxEventBytes', 'got null'],
    [
      { drain: { delayMs: -1 } },
      'drain.delayMs',
      'drain.delayMs must be a number of milliseconds from 0 to 2147483647, got -1.',
    ],
    [{ drain: { waitMs: 1 } }, 'waitMs', 'drain has no option "waitMs". The options are delayMs, timeoutMs'],
    [{ drain: 5 }, 'drain', 'an object, got 5'],
    [
      { keyOf: 'user' },
      'keyOf',
      'keyOf must be a function (request) => string | string[] | undefined, got "user"',
    ],
    [{ limits: 5 }, 'limits', 'limits must be an object, got 5'],
    [{ presence: null }, 'presence', 'presence must be an object, got null'],
    [{ presence: { ttlMs: 1 } }, 'ttlMs', 'presence has no option "ttlMs". The options are graceMs, leaseMs'],
    [{ presence: { leaseMs: 999 } }, 'presence.leaseMs', 'a number, 1000 or more, got 999'],
    [{ presence: { leaseMs: 600_001 } }, 'presence.leaseMs', 'a number from 1000 to 600000, got 600001'],
    [{ presence: { maxMembers: 0 } }, 'presence.maxMembers', '1 or more, got 0'],
    [{ presence: { maxDataBytes: 16_385 } }, 'presence.maxDataBytes', 'a number from 1 to 16384, got 16385'],
    [
      { revocable: true },
      'revocable',
      'revocable needs the option "keyOf" or "tickets" of SseModule.forRoot()',
    ],
    [{ limits: { connections: 5 } }, 'connections', 'limits has no option "connections". The options are'],
    [
      { limits: { connectionsPerKey: 0 } },
      'limits.connectionsPerKey',
      'limits.connectionsPerKey must be a number, 1 or more, got 0',
    ],
    [{ maxPatterns: 0 }, 'maxPatterns', 'maxPatterns must be a number, 1 or more, got 0'],
    [{ enhanceSseRoutes: 'no' }, 'enhanceSseRoutes', 'true or false, got "no"'],
    [{ heartBeatMs: 5 }, 'heartBeatMs', 'SseModule has no option "heartBeatMs". The options are heartbeatMs'],
  ])('refuses %j and says what to do', (options, field, message) => {
    const error = refusalOf(options);
    expect(error).toBeInstanceOf(SseError);
    expect(error.code).toBe('options-invalid');
    expect(error.field).toBe(field);
    expect(error.message).toContain(message);
  });

  it('refuses options that are no object', () => {
    expect(refusalOf(null).message).toContain('an object, got null');
    expect(refusalOf('fast').message).toContain('an object, got "fast"');
  });
});

describe('resolveSettings', () => {
  const { connection: defaults } = resolveOptions({ heartbeatMs: 50, retryMs: 7 });

  it('uses the defaults for missing options', () => {
    expect(resolveSettings({ retryMs: 9 }, defaults)).toEqual({ ...defaults, retryMs: 9 });
  });

  it('refuses an expiry that is no valid Date', () => {
    expect(() => resolveSettings({ expiresAt: new Date('never') }, defaults)).toThrow(
      'expiresAt must be a valid Date, got an invalid Date.',
    );
  });

  it('refuses an option that no connection has', () => {
    expect(() => resolveSettings({ maxConnections: 5 } as object, defaults)).toThrow(
      'A connection has no option "maxConnections"',
    );
  });
});
