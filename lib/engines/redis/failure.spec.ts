import { describe, expect, it } from '@jest/globals';
import { failureOf } from './failure.js';

describe('failureOf', () => {
  it.each([
    // As Redis 7 words it, and Redis 6.2: from pcall, and from call.
    ["OOM command not allowed when used memory > 'maxmemory'.", 'OOM', false],
    ["OOM command not allowed when used memory > 'maxmemory'. script: 5c, on @user_script:12.", 'OOM', false],
    ["@user_script: 58: -OOM command not allowed when used memory > 'maxmemory'.", 'OOM', false],
    [
      'ERR Error running script (call to f_5c): @user_script:12: @user_script: 12: -OOM command',
      'OOM',
      false,
    ],
    ["@user_script: 58: -READONLY You can't write against a read only replica.", 'READONLY', false],
    ["READONLY You can't write against a read only replica.", 'READONLY', false],
    ['NOSCRIPT No matching script. Please use EVAL.', 'NOSCRIPT', false],
    ['MOVED 1 127.0.0.1:1', 'MOVED', false],
    ["NOPERM this user has no permissions to run the 'evalsha' command", 'NOPERM', false],
    // What the script had written before stays.
    ['NOPERM no permissions to run the set command script: 5c, on @user_script:12.', 'NOPERM', true],
    ['ERR Error running script (call to f_5c): @user_script:12: unknown command', 'ERR', true],
    ['Connection is closed.', undefined, true],
    ['read ECONNRESET', undefined, true],
    ['Socket closed unexpectedly', undefined, true],
    ["Stream isn't writeable and enableOfflineQueue options is false", undefined, true],
  ])('of "%s" is %s, and whether it may have run: %s', (message, reply, mayHaveRun) => {
    const failure = failureOf(new Error(message));
    expect([failure.reply, failure.mayHaveRun]).toEqual([reply, mayHaveRun]);
  });
});
