import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import type { SseError } from '../errors/index.js';
import type { AppendFailure } from './append-errors.js';
import { AppendQueue } from './append-queue.js';
import type { AppendAnswer, AppendCarrier } from './append-queue.js';
import { NonceSource } from './identity.js';

const PUBLISH_MS = 1_000;
const RECORDS = [{ topic: 'a', data: '1', isJson: true }];

const failure = (message: string, { hint = '', mayHaveRun = false } = {}): AppendFailure =>
  Object.assign(new Error(message), { mayHaveRun, isTransient: true, hint });

describe('an append', () => {
  beforeEach(() => void jest.useFakeTimers());
  afterEach(() => {
    expect(jest.getTimerCount()).toBe(0);
    jest.useRealTimers();
  });

  /** Appends by a carrier, and lets time pass until it has settled. */
  async function errorWith(
    tryOnce: (leftMs: number) => Promise<AppendAnswer | AppendFailure>,
  ): Promise<SseError> {
    const carrier: AppendCarrier<AppendFailure> = {
      try: (_call, leftMs) => tryOnce(leftMs),
      failureOf: (error) => failure(String(error)),
      onAcknowledged: () => undefined,
      forgetClock: () => undefined,
      pause: (ms) => new Promise((resolve) => void setTimeout(resolve, ms)),
    };
    const settings = { publishTimeoutMs: PUBLISH_MS, maxPendingBytes: 1_000 };
    const closed = new AbortController().signal;
    const queue = new AppendQueue('PostgreSQL', carrier, { settings, nonces: new NonceSource(), closed });
    const failed = queue.append(RECORDS, undefined).then(
      () => expect(true).toBe(false),
      (error: unknown) => error,
    );
    await jest.advanceTimersByTimeAsync(2 * PUBLISH_MS);
    return (await failed) as SseError;
  }

  /** Fails each try after a time; one that has less is cut short, without an answer. */
  const failingAfter = (ms: number, refusal: AppendFailure) => async (leftMs: number) => {
    await new Promise((resolve) => void setTimeout(resolve, Math.min(ms, leftMs)));
    return leftMs < ms ? failure(`No answer within ${leftMs} ms`, { mayHaveRun: true }) : refusal;
  };

  it.each([130, 400, 700])(
    'whose last try is cut short by its deadline says why those before it failed: every %i ms',
    async (ms) => {
      const refusal = failure('statement timeout', { hint: ' Raise the statement_timeout.' });
      const error = await errorWith(failingAfter(ms, refusal));
      expect(error).toMatchObject({ code: 'publish-failed', cause: refusal });
      expect(error.message).toMatch(
        / within 1000 ms \(statement timeout\): .* Raise the statement_timeout\.$/,
      );
    },
  );

  it('whose only try had no answer says so', async () => {
    const error = await errorWith(failingAfter(5_000, failure('never seen')));
    expect(error).toMatchObject({ code: 'publish-failed', isOutcomeKnown: false });
    expect(error.message).toContain('(No answer within 1000 ms): it may have been published or not');
  });

  it('says the last of several failures', async () => {
    let tries = 0;
    const error = await errorWith(() => Promise.resolve(failure(`failure ${Math.min((tries += 1), 5)}`)));
    expect(error).toMatchObject({ code: 'publish-failed', isOutcomeKnown: true });
    expect(error.message).toContain('(failure 5): it was not published');
  });
});
