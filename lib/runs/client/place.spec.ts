import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { DeadlineWheel } from '../../time/deadline-wheel.js';
import { RepeatedReport } from '../../errors/index.js';
import { memory } from '../../engines/memory/index.js';
import type { EventLog, EventLogStore } from '../../log/index.js';
import { formatPosition } from '../../wire/index.js';
import { findPlace, placeInView } from './place.js';
import { controlRecord } from '../record/records.js';
import { nameOf } from '../record/name.js';
import { readState } from '../record/state.js';
import { RunView } from '../view.js';

const LIMITS = { maxEvents: 1_000, ttlMs: 60_000 };
const BEGIN = controlRecord('begin', { hasFormat: true, lost: [] });
const ITEM = { topic: 'item', data: '"x"', isJson: true };
const wanted = { owner: undefined, lastEventId: undefined, mustKnowEnd: () => false };

describe('the place of a client in a run', () => {
  let store: EventLogStore;
  let log: EventLog;

  beforeEach(async () => {
    store = memory()();
    const lease = await store.lease(nameOf('a'), { ttlMs: 60_000 });
    log = await store.open(nameOf('a'), { ...LIMITS, lease: lease! });
  });

  afterEach(() => store.close());

  async function viewOfRun(): Promise<{ view: RunView; lastEventId: string }> {
    const { epoch, records } = await log.append([BEGIN, ITEM]);
    const state = (await readState(store, nameOf('a')))!;
    const view = new RunView(
      state,
      {
        wheel: new DeadlineWheel(),
        reporter: { error: () => undefined, warn: () => undefined, debug: () => undefined },
        reports: new RepeatedReport({
          error: () => undefined,
          warn: () => undefined,
          debug: () => undefined,
        }),
        instance: 'this',
        leaseMs: 1_000,
        ringBytes: 1_000_000,
        finishIfDead: async () => true,
        onHandedOver: () => undefined,
        onUnused: () => undefined,
      },
      false,
    );
    await view.start();
    const { sequence, nonce } = records[1]!;
    return { view, lastEventId: formatPosition({ epoch, sequence, nonce }) };
  }

  it('is found in the view, if that has it', async () => {
    const { view, lastEventId } = await viewOfRun();

    expect(await placeInView(view, { ...wanted, lastEventId })).toMatchObject({ run: view, cursor: 2 });
    view.close();
  });

  it('is read from the log if the view was dropped meanwhile', async () => {
    const { view, lastEventId } = await viewOfRun();
    const { epoch, records } = await log.append([ITEM]);
    const next = formatPosition({ epoch, ...records[0]! });
    view.close();

    expect(await placeInView(view, { ...wanted, lastEventId: next })).toBeUndefined();
    expect(await findPlace(store, nameOf('a'), { ...wanted, lastEventId: next })).toMatchObject({
      cursor: 3,
    });
    await expect(
      findPlace(store, nameOf('a'), { ...wanted, lastEventId: `x${lastEventId}` }),
    ).rejects.toMatchObject({
      code: 'run-replaced',
    });
  });

  it('is found as soon as the run has begun in its new log', async () => {
    const finding = findPlace(store, nameOf('a'), wanted);
    await store.find(nameOf('a'), { from: 1, limit: 1 });
    await log.append([BEGIN]);

    expect(await finding).toMatchObject({ run: { id: 'a' }, cursor: 0 });
  });

  it('takes one more request if a long run may have ended', async () => {
    await log.append([BEGIN, ...Array.from({ length: 600 }, () => ITEM)]);
    await log.append([controlRecord('end', { reason: 'done', events: 600, bytes: 1_800 })]);
    const asked: number[] = [];
    const counting: EventLogStore = Object.create(store, {
      find: {
        value: (name: string, place: { from: number; limit: number }) => {
          asked.push(place.from);
          return store.find(name, place);
        },
      },
    }) as EventLogStore;

    const found = await findPlace(counting, nameOf('a'), { ...wanted, mustKnowEnd: () => true });

    expect(found).toMatchObject({ hasEnded: true, hasNothingMore: false });
    expect(asked).toHaveLength(2);
  });

  it('is not found if the run never begins in its new log', async () => {
    expect(await findPlace(store, nameOf('a'), wanted)).toBeUndefined();
  });
});
