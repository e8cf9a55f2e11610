import { describe, expect, it } from '@jest/globals';
import { postgres } from './postgres.event-log-store.js';
import { postgresSchema } from './schema.js';
import { outboxSettings, postgresSettings } from './options.js';

const url = 'postgres://localhost/app';
const pool = { query: () => Promise.resolve([]) };

describe('the options of postgres()', () => {
  it('have the documented defaults', () => {
    expect(postgresSettings({ url })).toEqual({
      owner: 'postgres()',
      pool: undefined,
      url,
      listenUrl: undefined,
      schema: 'sse',
      log: 'topics',
      maxEvents: 100_000,
      maxAgeMs: undefined,
      pollMs: 200,
      startTimeoutMs: 5_000,
      commandTimeoutMs: 2_000,
      publishTimeoutMs: 5_000,
      maxPendingBytes: 16_777_216,
    });
    expect(postgresSettings({ pool, startTimeoutMs: Infinity })).toMatchObject({ startTimeoutMs: Infinity });
  });

  it.each([
    [{}, 'postgres() needs a server'],
    [{ url, pool }, 'postgres() takes either pool or url, got both'],
    [{ pool: {} }, 'must be a Pool of pg 8, or an object with query(sql, params), got an object'],
    [{ pool: null }, 'got null'],
    [{ url: 'redis://a' }, 'url of postgres() must be a text that begins with postgres://'],
    [{ url, listenUrl: 5 }, 'listenUrl of postgres() must be a text that begins with postgres://'],
    [{ url, schema: 'a"b' }, 'schema of postgres() must be lower-case letters, digits and _'],
    [{ url, schema: 'x'.repeat(64) }, 'schema of postgres()'],
    [{ url, log: 'a b' }, 'log of postgres() must be 1 to 64 of letters, digits and _ . -, got "a b"'],
    [{ url, maxEvents: 0 }, 'maxEvents of postgres() must be a whole number, 1 or more, got 0'],
    [{ url, pollMs: -1 }, 'pollMs of postgres()'],
    [{ url, prefix: 'a' }, 'postgres() has no option "prefix"'],
  ])('refuse %j', (options, message) => {
    expect(() => postgres(options as never)).toThrow(
      expect.objectContaining({ code: 'options-invalid', message: expect.stringContaining(message) }),
    );
  });

  it('show no password', () => {
    expect(() => postgres({ url: 'mysql://user:secret@db' })).toThrow(/^(?!.*secret)/s);
  });
});

describe('postgresSchema()', () => {
  it('stands in the schema that it is given, and destroys nothing', () => {
    const schema = postgresSchema('events');
    expect(schema).toContain('create schema if not exists "events";');
    expect(schema).not.toContain('"sse"');
    expect(schema).not.toMatch(/drop (?!trigger)|truncate|alter table/i);
  });

  it('takes no name that would have to be quoted', () => {
    expect(() => postgresSchema('a"; drop table b; --')).toThrow('schema of postgres() must be');
  });
});

describe('the options of postgresOutbox()', () => {
  it('have a name and a relay of their own, and else the defaults of the log', () => {
    const owner = 'postgresOutbox()';
    const defaults = { ...postgresSettings({ url }), owner, log: 'outbox', relay: 'all' };
    expect(outboxSettings({ url })).toEqual(defaults);
    expect(outboxSettings({ url, relay: 'transactional-only' })).toMatchObject({
      relay: 'transactional-only',
    });
  });

  it.each([
    [{}, 'pool', /^postgresOutbox\(\) needs a server: postgresOutbox\({ url:/],
    [
      { url, relay: 'none' },
      'relay',
      /^relay of postgresOutbox\(\) must be 'all' or 'transactional-only', got/,
    ],
    [{ url, log: 'a b' }, 'log', /^log of postgresOutbox\(\)/],
    [{ url, schema: 'A' }, 'schema', /^schema of postgresOutbox\(\)/],
    [{ url, maxEvent: 1 }, 'maxEvent', /^postgresOutbox\(\) has no option "maxEvent".*relay/],
  ])('are refused: %j', (options, field, message) => {
    expect(() => outboxSettings(options as never)).toThrow(
      expect.objectContaining({ code: 'options-invalid', field, message: expect.stringMatching(message) }),
    );
  });
});
