import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import type { Appended, EventLog, LogRecord, RelayBatch, RelayPlace, RelayTarget } from '../../log/index.js';
import { Random } from '../../../test/support/random.js';
import { formatPosition } from '../../wire/index.js';
import { Relay } from './relay.js';
import { RelayedPublishes } from './relayed-publishes.js';

/** A log in memory whose requests take a turn or two. */
class FakeLog implements Pick<EventLog, 'page' | 'head'> {
  epoch = 'e1';
  first = 1;
  records: LogRecord[] = [];
  /** How many records fit into a page. */
  fitting = Infinity;

  get last(): number {
    return this.first + this.records.length - 1;
  }

  add(...nonces: string[]): void {
    for (const nonce of nonces) {
      this.records.push(recordOf(this.last + 1, nonce));
    }
  }

  /** Deletes events, as a limit does. */
  trim(before: number): void {
    this.records = this.records.filter(({ sequence }) => sequence >= before);
    this.first = before;
  }

  async page(from: number, limit: number) {
    const held = this.records.filter(({ sequence }) => sequence >= from);
    const records = held.slice(0, Math.min(limit, this.fitting));
    return { epoch: this.epoch, records, first: this.first, head: this.last };
  }

  async head() {
    return { epoch: this.epoch, sequence: this.last, nonce: this.records.at(-1)?.nonce ?? '00000000' };
  }
}

/** A target in memory that keeps its place with its events, and can lose its answers. */
class FakeTarget extends FakeLog implements RelayTarget {
  readonly allowsDirect = true;
  source: string | undefined;
  renewals: string[] = [];
  notes = 0;
  /** What becomes of the next take: it fails before, or after it was carried out. */
  failure: 'before' | 'after' | undefined;

  check(): void {}

  async place(): Promise<RelayPlace> {
    return { epoch: this.epoch, source: this.source };
  }

  async take({ epoch, records }: RelayBatch, at: RelayPlace): Promise<Appended | undefined> {
    await Promise.resolve();
    const { failure } = this;
    this.failure = undefined;
    if (failure === 'before') {
      throw new Error('the request was lost');
    }
    if (this.source !== at.source) {
      return undefined;
    }
    const from = this.last + 1;
    const taken = records.map((record, index) => ({ ...record, sequence: from + index }));
    this.records.push(...taken);
    this.source = formatPosition({ ...records.at(-1)!, epoch });
    if (failure === 'after') {
      throw new Error('the answer was lost');
    }
    return { epoch: this.epoch, records: taken };
  }

  async renew(
    at: RelayPlace,
    { source, keep }: { source: string | undefined; keep: boolean },
  ): Promise<void> {
    if (this.epoch === at.epoch) {
      this.renewals.push(keep ? 'keep' : 'empty');
      this.epoch = `${this.epoch}x`;
      this.source = source;
      this.records = keep ? this.records : [];
      this.first = keep ? this.first : 1;
    }
  }

  async note(): Promise<void> {
    this.notes += 1;
  }

  /** What a server keeps, and falls back to. */
  keep() {
    const { epoch, first, source } = this;
    const records = [...this.records];
    return () => Object.assign(this, { epoch, first, source, records: [...records] });
  }
}

function recordOf(sequence: number, nonce: string): LogRecord {
  return { sequence, nonce, topic: 'a', data: nonce, isJson: false, time: 0 };
}

const nonceOf = (n: number) => (n + 1).toString(16).padStart(8, '0');
const noncesOf = ({ records }: FakeLog) => records.map(({ nonce }) => nonce);

const relays: Relay[] = [];
let source: FakeLog;
let target: FakeTarget;
let states: unknown[];
let warnings: string[];

function relay(publishes = new RelayedPublishes(target)): Relay {
  const one = new Relay({
    source,
    target,
    publishes,
    onState: (trouble) => states.push(trouble),
    warn: (message) => warnings.push(message),
  });
  relays.push(one);
  return one;
}

/** Lets three checks of each relay pass. */
const settle = () => jest.advanceTimersByTimeAsync(3_500);

beforeEach(() => {
  jest.useFakeTimers();
  [source, target, states, warnings] = [new FakeLog(), new FakeTarget(), [], []];
});
afterEach(async () => {
  await Promise.all(relays.splice(0).map((one) => one.close()));
  jest.useRealTimers();
});

describe('a relay', () => {
  it('relays what the source has, in order, with its nonces, and rests', async () => {
    source.add('0000000a', '0000000b');
    relay().start();
    await settle();
    expect([noncesOf(target), target.source]).toEqual([['0000000a', '0000000b'], 'e1-2-0000000b']);
    expect([target.notes > 0, states.at(-1), target.renewals]).toEqual([true, undefined, []]);
  });

  it('tries again after a failure, whether the target has taken the events or not, and says so meanwhile', async () => {
    for (const failure of ['before', 'after'] as const) {
      source.add(failure === 'before' ? '0000000a' : '0000000b');
      target.failure = failure;
      relay().wake();
      await settle();
    }
    expect(noncesOf(target)).toEqual(['0000000a', '0000000b']);
    expect(states.filter(Boolean)).toEqual([
      new Error('the request was lost'),
      new Error('the answer was lost'),
    ]);
    expect(states.at(-1)).toBeUndefined();
  });

  it('makes a target good that has fallen back: the same events with the same nonces', async () => {
    source.add('0000000a');
    relay().start();
    await settle();
    const fallBack = target.keep();
    source.add('0000000b', '0000000c');
    await settle();
    fallBack();
    expect(noncesOf(target)).toEqual(['0000000a']);
    await settle();
    expect([noncesOf(target), target.renewals]).toEqual([['0000000a', '0000000b', '0000000c'], []]);
  });

  it('goes on if the source has another epoch and the same events', async () => {
    source.add('0000000a');
    relay().start();
    await settle();
    source.epoch = 'e2';
    source.add('0000000b');
    await settle();
    expect([noncesOf(target), target.source, target.renewals]).toEqual([
      ['0000000a', '0000000b'],
      'e2-2-0000000b',
      [],
    ]);
  });

  it('gives the target a new epoch if events were deleted before they were relayed', async () => {
    source.add('0000000a');
    relay().start();
    await settle();
    source.add('0000000b', '0000000c', '0000000d');
    source.trim(4);
    await settle();
    expect([noncesOf(target), target.renewals]).toEqual([['0000000a', '0000000d'], ['keep']]);
    expect(warnings).toEqual([expect.stringMatching(/deleted from the outbox.*maxEvents.*reset/)]);
  });

  it('empties the target if the source has lost what was relayed', async () => {
    source.add('0000000a', '0000000b');
    relay().start();
    await settle();
    source.records = [];
    source.add('0000000a', '0000000c');
    await settle();
    expect([noncesOf(target), target.renewals]).toEqual([['0000000a', '0000000c'], ['empty']]);
    expect(warnings).toEqual([expect.stringMatching(/lacks events that were relayed.*reset/)]);
  });

  it('does not empty it for a source that lags for a moment', async () => {
    source.add('0000000a', '0000000b');
    const one = relay();
    one.wake();
    await jest.advanceTimersByTimeAsync(0);
    const all = source.records;
    source.records = all.slice(0, 1);
    one.wake();
    await jest.advanceTimersByTimeAsync(0);
    source.records = all;
    one.start();
    await settle();
    expect([noncesOf(target), target.renewals, warnings]).toEqual([['0000000a', '0000000b'], [], []]);
  });

  it('does not empty it for a source that lags now and then, each time for a moment', async () => {
    source.add('0000000a', '0000000b');
    const one = relay();
    const all = source.records;
    for (let n = 0; n < 3; n += 1) {
      one.wake();
      await jest.advanceTimersByTimeAsync(1_000);
      source.records = all.slice(0, 1);
      one.wake();
      await jest.advanceTimersByTimeAsync(0);
      source.records = all;
    }
    expect([noncesOf(target), target.renewals, warnings]).toEqual([['0000000a', '0000000b'], [], []]);
  });

  it('empties the target if another program has written the place', async () => {
    source.add('0000000a');
    target.source = 'x';
    relay().start();
    await settle();
    expect([noncesOf(target), target.source]).toEqual([['0000000a'], 'e1-1-0000000a']);
  });

  it('stops when it is closed', async () => {
    const one = relay();
    one.start();
    await settle();
    await one.close();
    source.add('0000000a');
    one.start();
    one.wake();
    await settle();
    expect([noncesOf(target), jest.getTimerCount()]).toEqual([[], 0]);
  });
});

describe('three relays at once', () => {
  it.each([1, 2, 3])(
    'relay each event once, with lost requests and answers and a target that falls back: seed %i',
    async (seed) => {
      const random = new Random(seed);
      const three = [relay(), relay(), relay()];
      three.forEach((one) => one.start());
      let fallBack = target.keep();
      for (let n = 0; n < 200; n += 1) {
        const faults: (() => void)[] = [
          () => (target.failure = random.pick(['before', 'after'] as const)),
          () => (fallBack = target.keep()),
          () => fallBack(),
          () => (source.epoch = `e${n}`),
        ];
        source.add(nonceOf(n));
        three.filter(() => random.next() < 0.7).forEach((one) => one.wake());
        if (random.next() < 0.1) {
          random.pick(faults)();
        }
        await jest.advanceTimersByTimeAsync(random.between(0, 60));
      }
      await settle();
      expect(noncesOf(target)).toEqual(noncesOf(source));
      expect([target.renewals, warnings]).toEqual([[], []]);
    },
  );
});

describe('a direct publish', () => {
  const WAIT = { timeoutMs: 5_000, why: () => 'Redis is away' };
  const appended = (...records: LogRecord[]): Appended => ({ epoch: 'e1', records });

  it('has its place in the target when it is relayed, by this process or another', async () => {
    target.add('00000001');
    const [own, others] = [new RelayedPublishes(target), new RelayedPublishes(target)];
    const [one, other] = [relay(own), relay(others)];
    source.add('0000000a');
    const waiting = own.wait(appended(recordOf(1, '0000000a')), WAIT);
    const waitingThere = others.wait(appended(recordOf(1, '0000000a')), WAIT);
    one.wake();
    await jest.advanceTimersByTimeAsync(0);
    other.wake();
    await jest.advanceTimersByTimeAsync(0);
    const expected = { epoch: 'e1', records: [{ ...recordOf(2, '0000000a') }] };
    expect([await waiting, await waitingThere]).toEqual([expected, expected]);
    // Relayed before it is waited for.
    expect(await own.wait(appended(recordOf(1, '0000000a')), WAIT)).toEqual(expected);
  });

  it('is found among events so large that a page has room for few of them', async () => {
    const publishes = new RelayedPublishes(target);
    const [one, other] = [relay(), relay(publishes)];
    source.add('0000000a', '0000000b', '0000000c', '0000000d', '0000000e', '0000000f');
    target.fitting = 2;
    one.wake();
    await jest.advanceTimersByTimeAsync(0);
    const waiting = publishes.wait(appended(recordOf(6, '0000000f')), WAIT);
    other.wake();
    await Promise.all([
      expect(waiting).resolves.toEqual({ epoch: 'e1', records: [recordOf(6, '0000000f')] }),
      jest.advanceTimersByTimeAsync(5_000),
    ]);
  });

  it('rejects if it was not relayed in time, and says that it is published all the same', async () => {
    const waiting = new RelayedPublishes(target).wait(appended(recordOf(1, '0000000a')), WAIT);
    await Promise.all([
      expect(waiting).rejects.toMatchObject({
        code: 'publish-failed',
        isOutcomeKnown: false,
        message: expect.stringMatching(
          /PostgreSQL has the event.*Redis is away.*do not publish it a second time/,
        ),
      }),
      jest.advanceTimersByTimeAsync(5_000),
    ]);
    expect(jest.getTimerCount()).toBe(0);
  });

  it('rejects if the app closes', async () => {
    const publishes = new RelayedPublishes(target);
    const waiting = publishes.wait(appended(recordOf(1, '0000000a')), WAIT);
    publishes.close();
    await expect(waiting).rejects.toMatchObject({ code: 'closed', isOutcomeKnown: false });
    expect(jest.getTimerCount()).toBe(0);
  });
});
