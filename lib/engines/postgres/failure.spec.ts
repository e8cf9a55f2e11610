import { describe, expect, it } from '@jest/globals';
import { failureOf } from './failure.js';

const errorOf = (code?: string, cause?: unknown) =>
  Object.assign(new Error('no', { cause }), code && { code });

describe('a failure of PostgreSQL', () => {
  it.each([
    // code, has run, may work soon, needs another connection, will not pass
    [undefined, true, true, true, false],
    ['ECONNRESET', true, true, true, false],
    ['EPIPE', true, true, true, false],
    ['57P01', true, true, true, false],
    ['08006', true, true, true, false],
    ['40P01', false, true, false, false],
    ['57014', false, true, false, false],
    ['53300', false, true, false, false],
    ['3F000', false, true, true, false],
    ['53100', false, false, false, false],
    ['23505', false, false, false, false],
    ['28P01', false, true, false, true],
    ['3D000', false, true, false, true],
  ])('with the code %s', (code, mayHaveRun, isTransient, isOfConnection, isFinal) => {
    expect(failureOf(errorOf(code))).toMatchObject({ mayHaveRun, isTransient, isOfConnection, isFinal });
  });

  it('has the code that a library keeps in the cause, and says what to do', () => {
    const failure = failureOf(errorOf('P2010', undefined));
    expect(failure.code).toBe('P2010');
    expect(failureOf(errorOf(undefined, errorOf('53100')))).toMatchObject({
      code: '53100',
      hint: ' Make room on its disk.',
    });
  });

  it('of the write-ahead log stops the server: the commit may be on disk, and it is asked once the server is back', () => {
    const panic = Object.assign(errorOf('53100'), { severity: 'PANIC', file: 'xlog.c' });
    expect(failureOf(panic)).toMatchObject({ mayHaveRun: true, isTransient: true, isOfConnection: true });
  });

  it('is the same if a library has wrapped the error', () => {
    const wrapped = (cause: Error) => failureOf(new Error('Failed query', { cause }));
    expect(wrapped(Object.assign(errorOf('53100'), { file: 'xlog.c' }))).toMatchObject({ mayHaveRun: true });
    expect(wrapped(new Error('SASL: client password must be a string'))).toMatchObject({ isFinal: true });
  });

  it('of a connection without a password, for which pg has no code, is one of a wrong password', () => {
    const failure = failureOf(
      new Error('SASL: SCRAM-SERVER-FIRST-MESSAGE: client password must be a string'),
    );
    expect(failure).toMatchObject({ code: '28P01', mayHaveRun: false, isFinal: true });
  });

  it.each([
    ['25P03', 'idle_in_transaction_session_timeout'],
    ['28P01', 'present password'],
    ['55P03', 'pg_stat_activity'],
    ['57014', 'statement_timeout'],
  ])('with the code %s says what to do', (code, words) => {
    expect(failureOf(errorOf(code)).hint).toMatch(new RegExp(`^ [A-Z].*${words}.*\\.$`));
  });

  it('stays one, and is made of anything that is thrown', () => {
    const failure = failureOf('gone');
    expect(failure.message).toBe('gone');
    expect(failureOf(failure)).toBe(failure);
  });
});
