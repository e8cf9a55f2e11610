import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { waitFor } from 'nestjs-event-stream/testing';
import { memory } from '../../engines/memory/index.js';
import type { EventLog, EventLogStore } from '../../log/index.js';
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
