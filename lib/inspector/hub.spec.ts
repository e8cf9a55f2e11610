import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { AwayLog } from '../../test/support/servers/away-log.js';
import type { SseService } from '../index.js';
import type { NamedLog, NewRecord } from '../log/index.js';
import type { InspectedConnection, Inspection } from '../sse.inspection.js';
import { DeadlineWheel } from '../time/index.js';
import { InspectorHub } from './hub.js';
import type { InstanceReport, ListQuery, Update } from './protocol.js';
import { reportRecord, watchRecord } from './records.js';

const QUERY: ListQuery = { list: 'connections', filter: '', order: 'newest', after: '' };
const FIGURES = { open: 1, opened: 2, closed: { client: 1 } };
const pass = (ms: number) => jest.advanceTimersByTimeAsync(ms);

/** A log of several instances that keeps what was written. */
class SharedLog extends AwayLog {
  override isShared = true;
  readonly written: NewRecord[] = [];

  override async open(...given: Parameters<AwayLog['open']>): Promise<NamedLog> {
    const log = await super.open(...given);
    return new Proxy(log, {
      get: (target, name) => {
        const member: unknown = Reflect.get(target, name, target);
        if (name !== 'append') {
          return typeof member === 'function' ? (member.bind(target) as unknown) : member;
        }
        return async (records: readonly NewRecord[]) => {
          const appended = await target.append(records);
          this.written.push(...records);
          return appended;
        };
      },
    });
  }

  kinds(): string[] {
    return this.written.splice(0).map(({ topic }) => topic);
  }
}

/** An instance with connections, as its inspector sees it. */
class Instance {
  readonly hub: InspectorHub;
  readonly ids: Set<string>;
  readonly scans = jest.fn();
  state = 'ready';

  constructor(store: AwayLog, ...ids: string[]) {
    this.ids = new Set(ids);
    const inspection = {
      store,
      reporter: { warn: jest.fn(), error: jest.fn(), debug: jest.fn() },
      wheel: new DeadlineWheel(),
      connections: () => this.#connections().values(),
      runs: () => [].values(),
    } as unknown as Inspection;
    const counts = new Proxy({}, { get: (_, name) => (name === 'connections' ? FIGURES : {}) });
    const sse = {
      metrics: counts,
      health: { state: 'ready', since: new Date() },
      connections: { close: (isRight: (connection: object) => boolean) => this.#close(isRight) },
    } as unknown as SseService;
    this.hub = new InspectorHub(inspection, sse);
  }

  /** Opens a page. @returns what it shows last, and a function that closes it */
  look(query?: ListQuery): { last: () => Update | undefined; names: () => string[]; leave: () => void } {
    let last: Update | undefined;
    const leave = this.hub.open(query, (update) => (last = update));
    const names = () => (last?.list?.rows ?? []).map((row) => ('id' in row ? row.id : '')).toSorted();
    return { last: () => last, names, leave };
  }

  #connections(): InspectedConnection[] {
    this.scans();
    return Array.from(this.ids, (id) => ({
      id,
      keys: [],
      route: '/',
      address: '',
      openedAt: 1,
      queuedBytes: 0,
      feed: undefined,
    }));
  }

  #close(isRight: (connection: object) => boolean): number {
    const chosen = Array.from(this.ids).filter((id) => isRight({ id }));
    return chosen.filter((id) => this.ids.delete(id)).length;
  }
}

describe('the inspectors of two instances', () => {
  let log: SharedLog;
  let here: Instance;
  let there: Instance;
  beforeEach(async () => {
    jest.useFakeTimers();
    log = new SharedLog();
    here = new Instance(log, 'a1', 'a2');
    there = new Instance(log, 'b1');
    await Promise.all([here.hub.start(), there.hub.start()]);
  });
  afterEach(async () => {
    here.hub.close();
    there.hub.close();
    await log.close();
    jest.useRealTimers();
  });

  it('write nothing and look at nothing while no page is open', async () => {
    await pass(60_000);
    const page = here.look(QUERY);
    await pass(3_000);
    expect(new Set(log.kinds())).toEqual(new Set(['watch', 'report', 'list']));
    page.leave();
    await pass(3_000);
    // That the page has left, and what was under way.
    expect(log.kinds()).toContain('watch');
    here.scans.mockClear();
    there.scans.mockClear();
    await pass(60_000);
    expect(log.kinds()).toEqual([]);
    expect(here.scans).not.toHaveBeenCalled();
    expect(there.scans).not.toHaveBeenCalled();
  });

  it('show the connections of both, and how each stands, the one that serves the page first', async () => {
    const page = here.look(QUERY);
    await pass(2_500);
    expect(page.names()).toEqual(['a1', 'a2', 'b1']);
    expect(page.last()).toMatchObject({
      list: { total: 3, isCut: false },
      instances: [
        {
          id: here.hub.id,
          isHere: true,
          figures: { connections: 1, opened: 2 },
          counts: { closed: { client: 1 } },
        },
        { id: there.hub.id, isHere: false },
      ],
    });
    there.ids.add('b2');
    await pass(5_000);
    expect(page.names()).toEqual(['a1', 'a2', 'b1', 'b2']);
  });

  it('ask for no list where a page looks at none', async () => {
    const page = here.look();
    await pass(2_500);
    expect(page.last()?.instances).toHaveLength(2);
    expect(page.last()).not.toHaveProperty('list');
    expect(log.kinds()).not.toContain('list');
    expect(there.scans).not.toHaveBeenCalled();
  });

  it('close a connection where it is, and tell whether it was there', async () => {
    const outcome = async (closing: Promise<string>) => {
      await pass(500);
      return closing;
    };
    expect(await outcome(here.hub.closeConnection(here.hub.id, 'a1'))).toBe('closed');
    expect(await outcome(here.hub.closeConnection(there.hub.id, 'b1'))).toBe('closed');
    expect(await outcome(here.hub.closeConnection(there.hub.id, 'b1'))).toBe('gone');
    expect([[...here.ids], [...there.ids]]).toEqual([['a2'], []]);
    const closing = here.hub.closeConnection('nobody', 'b1');
    await pass(5_500);
    expect(await closing).toBe('silent');
  });

  it('go on with their own while the log is away, say that the other is silent, and find it again', async () => {
    const page = here.look(QUERY);
    await pass(2_500);
    log.isAway = true;
    await pass(20_000);
    expect(page.names()).toEqual(['a1', 'a2']);
    expect(page.last()?.instances[0]).toMatchObject({ isHere: true, silentMs: expect.closeTo(0, -3) });
    expect(page.last()!.instances[1]!.silentMs).toBeGreaterThan(15_000);
    expect(await here.hub.closeConnection(there.hub.id, 'b1')).toBe('silent');
    await pass(60_000);
    expect(page.last()?.instances).toHaveLength(1);
    log.isAway = false;
    await pass(10_000);
    expect(page.names()).toEqual(['a1', 'a2', 'b1']);
  });

  it('look a few times a second at most, however often pages elsewhere ask for something else', async () => {
    const other = await log.open('inspector', { maxEvents: 256, ttlMs: 1_000 });
    for (let n = 0; n < 100; n += 1) {
      await other.append([watchRecord('other', new Map([[`view-${n}`, QUERY]]))]);
      await pass(20);
    }
    expect(here.scans.mock.calls.length).toBeGreaterThan(2);
    expect(here.scans.mock.calls.length).toBeLessThan(12);
  });

  it('show their own instance, whatever another program writes into the log', async () => {
    const other = await log.open('inspector', { maxEvents: 256, ttlMs: 1_000 });
    const page = here.look(QUERY);
    const report = { log: {}, figures: {}, counts: {} } as unknown as InstanceReport;
    await other.append(Array.from({ length: 600 }, (_, n) => reportRecord(`forged-${n}`, report)));
    await pass(2_500);
    expect(page.last()?.instances[0]).toMatchObject({ id: here.hub.id, isHere: true });
    expect(page.names()).toEqual(['a1', 'a2']);
  });

  it('forget a page whose instance is gone without a word', async () => {
    here.look(QUERY);
    await pass(2_500);
    here.hub.close();
    await pass(30_000);
    log.kinds();
    await pass(30_000);
    expect(log.kinds()).toEqual([]);
  });

  it('show what is asked for by pages of both at once', async () => {
    const one = here.look(QUERY);
    const other = there.look({ ...QUERY, filter: 'nothing has this' });
    await pass(5_000);
    expect(one.names()).toEqual(['a1', 'a2', 'b1']);
    expect(other.last()?.list).toEqual({ total: 0, rows: [], isCut: false });
  });
});

it('an inspector whose log is away at the start listens once it is back, and the app has started', async () => {
  jest.useFakeTimers();
  const log = new SharedLog();
  log.isAway = true;
  const [here, there] = [new Instance(log, 'a1'), new Instance(log, 'b1')];
  await Promise.all([here.hub.start(), there.hub.start()]);
  const page = here.look(QUERY);
  await pass(3_000);
  expect(page.names()).toEqual(['a1']);
  log.isAway = false;
  await pass(10_000);
  expect(page.names()).toEqual(['a1', 'b1']);
  here.hub.close();
  there.hub.close();
  await log.close();
  jest.useRealTimers();
});

it('an inspector of an engine in one process opens no log', async () => {
  const log = new SharedLog();
  log.isShared = false;
  const open = jest.spyOn(log, 'open');
  const { hub } = new Instance(log);
  await hub.start();
  expect(open).not.toHaveBeenCalled();
  hub.close();
  await log.close();
});
