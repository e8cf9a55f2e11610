import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { waitFor } from 'nestjs-event-stream/testing';
import { memory } from '../../engines/memory/index.js';
import type { EventLog, EventLogStore, LogPage } from '../../log/index.js';
import type { RunEnd } from '../options.js';
import { controlRecord } from '../record/records.js';
import { RunSettlement } from './settlement.js';
import { nameOf } from '../record/name.js';
import { readState } from '../record/state.js';
import type { RunState } from '../record/state.js';

const LIMITS = { maxEvents: 100, ttlMs: 60_000 };
const ENDING = { reason: 'done', events: 1, bytes: 3, isCut: false, isSettled: false } as const;

describe('the end of a run whose id is used again', () => {
  let store: EventLogStore;
  let settlement: RunSettlement;
  const closed = new AbortController();

  beforeEach(() => {
    store = memory()();
    settlement = new RunSettlement(store, {
      reporter: { error: () => undefined, warn: () => undefined, debug: () => undefined },
      leaseMs: 300,
      closed: closed.signal,
      onSettled: async () => undefined,
      onLost: async () => undefined,
    });
  });

  afterEach(async () => {
    closed.abort();
    await store.close();
  });

  async function begin(): Promise<EventLog> {
    const lease = await store.lease(nameOf('a'), { ttlMs: 60_000 });
    const log = await store.open(nameOf('a'), { ...LIMITS, lease: lease! });
    await lease!.release();
    return log;
  }

  async function endedRun(): Promise<RunState> {
    const log = await begin();
    const item = { topic: 'item', data: '"x"', isJson: true };
    await log.append([
      controlRecord('begin', { hasFormat: true, lost: [] }),
      item,
      controlRecord('end', ENDING),
    ]);
    return (await readState(store, nameOf('a')))!;
  }

  it.each([
    ['fails before it asks for the answer', 2],
    ['takes longer than the next run waits', 1],
  ])('is told with its answer to a listener that %s', async (_what, lastCall) => {
    const saved: unknown[] = [];
    let calls = 0;
    let hasBegun = false;
    settlement.onEnd(async (end: RunEnd) => {
      calls += 1;
      if (calls < lastCall) {
        throw new Error('The database is away.');
      }
      await waitFor(() => hasBegun);
      saved.push(await end.items());
    });
    const state = await endedRun();
    await settlement.settleBefore(state, state.ending!);
    await begin();
    hasBegun = true;
    await waitFor(() => saved.length > 0, { timeoutMs: 10_000 });

    expect(saved).toEqual([['x']]);
  });
});

describe('the end of a run whose log is replaced by an older copy of itself', () => {
  const closed = new AbortController();
  let store: EventLogStore;
  let settlement: RunSettlement;
  let run: RunState;
  let settled: number;
  let lost: number;
  /** Called when the run is noted as settled in the list of runs. */
  let onNoted: () => void;
  /** The sequence at which the copy ends; undefined while the log is whole. */
  let copiedAt: number | undefined;

  beforeEach(async () => {
    store = memory()();
    settled = 0;
    lost = 0;
    onNoted = () => undefined;
    copiedAt = undefined;
    const log = await store.open(nameOf('a'), LIMITS);
    await log.append([
      controlRecord('begin', { hasFormat: true, lost: [] }),
      { topic: 'item', data: '"x"', isJson: true },
      controlRecord('end', ENDING),
    ]);
    const asCopied = (page: LogPage): LogPage => {
      const head = Math.min(page.head, copiedAt ?? Infinity);
      return { ...page, head, records: page.records.filter(({ sequence }) => sequence <= head) };
    };
    run = (await readState(store, nameOf('a')))!;
    const page = run.log.page.bind(run.log);
    jest.spyOn(run.log, 'page').mockImplementation(async (from, limit) => asCopied(await page(from, limit)));
    const find: EventLogStore['find'] = async (name, wanted) => {
      const found = await store.find(name, wanted);
      return found && { log: found.log, page: asCopied(found.page) };
    };
    settlement = new RunSettlement({ find } as EventLogStore, {
      reporter: { error: () => undefined, warn: () => undefined, debug: () => undefined },
      leaseMs: 300,
      closed: closed.signal,
      onSettled: async () => {
        settled += 1;
        onNoted();
      },
      onLost: async () => void (lost += 1),
    });
  });

  afterEach(async () => {
    jest.useRealTimers();
    await store.close();
  });

  const settle = () => settlement.settle(run, ENDING, { isSettled: false });

  it('is settled if the log still has it', async () => {
    settlement.onEnd(() => undefined);
    expect([await settle(), settled, lost]).toEqual([true, 1, 0]);
  });

  it('is not settled if the copy has no end: an instance has to end the run again', async () => {
    settlement.onEnd(() => void (copiedAt = 2));
    expect([await settle(), lost]).toEqual([false, 1]);
  });

  it('is open again if the copy takes its place while the run is noted as settled', async () => {
    settlement.onEnd(() => undefined);
    onNoted = () => (copiedAt = 2);
    expect([await settle(), lost]).toEqual([false, 1]);
  });

  it('is not told again to a listener that has failed: the next end of the run is', async () => {
    jest.useFakeTimers();
    let calls = 0;
    settlement.onEnd(() => {
      calls += 1;
      copiedAt = 2;
      throw new Error('The database is away.');
    });
    const settling = settle();
    await jest.advanceTimersByTimeAsync(60_000);
    expect([await settling, settled, calls]).toEqual([false, 0, 1]);
  });

  it('is told again to a listener that has failed while the log cannot be read', async () => {
    jest.useFakeTimers();
    let calls = 0;
    settlement.onEnd(() => {
      calls += 1;
      if (calls === 1) {
        jest.spyOn(store, 'find').mockRejectedValueOnce(new Error('The log is away.'));
        throw new Error('The database is away.');
      }
    });
    const settling = settle();
    await jest.advanceTimersByTimeAsync(60_000);
    expect([await settling, settled, calls]).toEqual([true, 1, 2]);
  });

  it('has no answer if a part of that is lost, rather than a part as if it were whole', async () => {
    const failures: unknown[] = [];
    settlement.onEnd(async (end) => {
      copiedAt = 1;
      failures.push(await end.items().catch((error: unknown) => error));
    });
    await settle();
    expect(failures).toEqual([
      expect.objectContaining({
        code: 'log-unavailable',
        message: expect.stringContaining('The log of the run "a" has 0 of the 1 events'),
      }),
    ]);
  });
});
