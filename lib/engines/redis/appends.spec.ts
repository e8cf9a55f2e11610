import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { Random } from '../../../test/support/random.js';
import type { SseError } from '../../errors/index.js';
import type { Appended } from '../../log/index.js';
import { pause } from '../../time/index.js';
import { NonceSource } from '../index.js';
import { RedisAppends } from './appends.js';
import type { AppendContext } from './appends.js';
import { RedisFailure } from './failure.js';
import { RedisKeys } from './keys.js';

const SEEDS = 60;
const APPENDS = 120;
/** 100 for the event, and its topic. */
const EMPTY_RECORD_BYTES = 101;
const SETTINGS = {
  maxPendingBytes: 50_000,
  publishTimeoutMs: 1_000,
  commandTimeoutMs: 100,
  clockSkewMs: 0,
};
const CLOCK_STEP_MS = 5_000;

type ArgsOf = (deadline: string) => readonly string[];

/** Redis as APPEND makes use of it, behind a link that delays and loses requests and replies, by a seed. */
class FaultyRedis {
  readonly stored: number[] = [];
  readonly closing = new AbortController();
  /** The lease that another instance has taken. */
  lostToken = '';
  /** How far its clock is ahead, and how far the link takes it to be. */
  aheadMs = 0;
  #knownMs = 0;
  isFaulty = true;
  readonly #random: Random;
  readonly #published = new Map<string, number>();

  constructor(random: Random) {
    this.#random = random;
  }

  forgetClock(): void {
    this.#knownMs = this.aheadMs;
  }

  pause(ms: number): Promise<void> {
    return pause(ms, this.closing.signal);
  }

  async runBefore(
    _script: unknown,
    keys: readonly string[],
    argsOf: ArgsOf,
    { leftMs, timeoutMs }: { leftMs: number; timeoutMs: number },
  ): Promise<unknown> {
    const deadline = performance.now() + leftMs + this.#knownMs;
    if (this.closing.signal.aborted || this.#happens(0.1)) {
      await this.pause(this.#random.between(0, 100));
      throw new RedisFailure('No connection', { mayHaveRun: false });
    }
    if (this.#happens(0.05)) {
      throw new RedisFailure('OOM', { reply: 'OOM', mayHaveRun: false });
    }
    const args = argsOf(deadline.toFixed(0));
    return new Promise((resolve, reject) => {
      void this.#answer(keys, args).then(resolve);
      void this.pause(timeoutMs).then(() => reject(new RedisFailure('No answer', { mayHaveRun: true })));
    });
  }

  /** Carries a request out when it arrives, maybe long after its sender has given it up. */
  async #answer(keys: readonly string[], args: readonly string[]): Promise<unknown> {
    await pause(this.#happens(0.3) ? this.#random.between(10, 1_500) : this.#random.between(1, 5));
    const reply = this.#happens(0.1) ? undefined : this.#append(keys, args);
    await pause(this.#random.between(1, 5));
    return reply === undefined || this.#happens(0.1) ? new Promise(() => undefined) : reply;
  }

  #append([, , key]: readonly string[], args: readonly string[]): string[] {
    const [token, deadline] = [args[6]!, args[8]!];
    const now = performance.now() + this.aheadMs;
    if (!this.#published.has(key!)) {
      if (now > Number(deadline)) {
        return ['late', String(Math.floor(now))];
      }
      if (token !== '' && token === this.lostToken) {
        return ['lease-lost'];
      }
      this.#published.set(key!, this.stored.length + 1);
      for (let at = 10; at < args.length; at += 5) {
        this.stored.push(Number(args[at + 3]));
      }
    }
    return ['ok', 'e', String(this.#published.get(key!))];
  }

  #happens(probability: number): boolean {
    return this.isFaulty && this.#random.next() < probability;
  }
}

const record = (data: number | string) => ({ topic: 'a', data: String(data), isJson: true });

const appendsOn = (redis: FaultyRedis) =>
  new RedisAppends(
    { keys: { events: 'events', meta: 'meta' }, maxEvents: 1_000, onAcknowledged: () => undefined },
    {
      commands: redis,
      keys: new RedisKeys('sse', 'topics'),
      settings: SETTINGS,
      nonces: new NonceSource(),
      knowledge: { formerOfNext: () => '' },
      watch: { onOutcome: () => undefined },
      closed: redis.closing.signal,
    } as unknown as AppendContext,
  );

/** Appends numbers; the second half under a lease, which may be lost. @returns the outcome of each */
const appendAll = async (redis: FaultyRedis, appends: RedisAppends, random: Random) => {
  const lease = new AbortController();
  const [losesLease, closes] = [random.next() < 0.3, random.next() < 0.2];
  const outcomes: Promise<Appended | SseError>[] = [];
  for (let n = 0; n < APPENDS; n += 1) {
    const under = n > APPENDS / 2 ? { key: 'lease', token: 7, signal: lease.signal } : undefined;
    outcomes.push(appends.append([record(n)], under).catch((error: SseError) => error));
    if (random.next() < 0.6) {
      await jest.advanceTimersByTimeAsync(random.between(0, 20));
    }
    redis.aheadMs += random.next() < 0.02 ? CLOCK_STEP_MS : 0;
    if (n === APPENDS - 20 && losesLease) {
      redis.lostToken = '7';
      lease.abort();
    }
    if (n === APPENDS - 10 && closes) {
      redis.closing.abort();
    }
  }
  await jest.advanceTimersByTimeAsync(2 * SETTINGS.publishTimeoutMs + APPENDS * 20);
  return Promise.all(outcomes);
};

describe('RedisAppends, over a connection that delays and loses what it likes', () => {
  beforeEach(() => void jest.useFakeTimers({ doNotFake: ['nextTick', 'queueMicrotask', 'setImmediate'] }));
  afterEach(() => void jest.useRealTimers());

  it.each(Array.from({ length: SEEDS }, (_, n) => n + 1))(
    'has each event once, in order, and says what has become of it: seed %i',
    async (seed) => {
      const random = new Random(seed);
      const redis = new FaultyRedis(random);
      const outcomes = await appendAll(redis, appendsOn(redis), random);
      const { stored } = redis;
      expect(new Set(stored).size).toBe(stored.length);
      const isAcknowledged = (n: number) => !(outcomes[n] instanceof Error);
      const acknowledged = stored.filter(isAcknowledged);
      expect(acknowledged).toEqual(Array.from(outcomes.keys()).filter(isAcknowledged));
      outcomes.forEach((outcome, n) => {
        if (outcome instanceof Error) {
          expect([n, outcome.isOutcomeKnown && stored.includes(n)]).toEqual([n, false]);
        } else {
          expect(stored[outcome.records[0]!.sequence - 1]).toBe(n);
        }
      });
    },
  );

  it('counts what is pending, whatever has become of the appends before', async () => {
    const redis = new FaultyRedis(new Random(SEEDS));
    const appends = appendsOn(redis);
    for (let round = 0; round < 5; round += 1) {
      const random = new Random(round);
      for (let n = 0; n < 50; n += 1) {
        // Its outcome is another test's.
        appends.append([record(n)], undefined).catch(() => undefined);
        await jest.advanceTimersByTimeAsync(random.between(0, 20));
      }
      await jest.advanceTimersByTimeAsync(2 * SETTINGS.publishTimeoutMs);
    }
    redis.isFaulty = false;
    const first = appends.append([record('')], undefined);
    const rest = SETTINGS.maxPendingBytes - 2 * EMPTY_RECORD_BYTES;
    const filling = appends.append([record('x'.repeat(rest))], undefined);
    await expect(appends.append([record('')], undefined)).rejects.toThrow('maxPendingBytes');
    await jest.advanceTimersByTimeAsync(SETTINGS.publishTimeoutMs);
    expect([await first, await filling]).toHaveLength(2);
  });
});
