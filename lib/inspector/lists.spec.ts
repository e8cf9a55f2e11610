import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import type { InspectedConnection, InspectedRun } from '../sse.inspection.js';
import { joinParts } from './lists.js';
import { comparePlaces, placeOf } from './place.js';
import { ORDERS, PAGE_ROWS } from './protocol.js';
import type { ConnectionRow, ListPart, ListQuery, Order } from './protocol.js';
import { scan } from './scan.js';

const connection = (n: number, given: Partial<InspectedConnection> = {}): InspectedConnection => ({
  id: `${n}`.padStart(8, '0'),
  keys: [`user${n}`],
  route: '/follow',
  address: '10.0.0.1',
  openedAt: 1_000 + Math.floor(n / 10),
  queuedBytes: 0,
  feed: { kind: 'topics', names: ['orders.*'], isBehind: false, lagEvents: n % 3 },
  ...given,
});
const run = (given: Partial<InspectedRun>): InspectedRun => ({
  id: 'r',
  owner: 'anna',
  isProducedHere: true,
  clients: 1,
  records: 2,
  startedAt: 1_000,
  ...given,
});

async function listOf(
  query: Partial<ListQuery> & Pick<ListQuery, 'list'>,
  connections: readonly InspectedConnection[],
  runs: readonly InspectedRun[] = [],
  instance = 'i',
): Promise<ListPart> {
  const whole = { filter: '', order: 'newest', after: '', ...query } as const;
  const process = { connections: () => connections.values(), runs: () => runs.values() };
  return (await scan(process as never, new Map([['view', whole]]), instance)).get('view')!;
}

/** Reads all pages of connections of several instances, as a page does. */
async function readAll(
  instances: readonly (readonly InspectedConnection[])[],
  order: Order,
): Promise<string[]> {
  const ids: string[] = [];
  let after = '';
  for (;;) {
    const query = { list: 'connections', order, after } as const;
    const parts = await Promise.all(instances.map((all, at) => listOf(query, all, [], `i${at}`)));
    const { rows, total } = joinParts('connections', parts) as {
      rows: readonly ConnectionRow[];
      total: number;
    };
    expect(total).toBe(instances.flat().length);
    if (rows.length === 0) {
      return ids;
    }
    ids.push(...rows.map(({ id }) => id));
    after = rows.at(-1)!.place;
  }
}

describe('the list of connections', () => {
  it.each(ORDERS)('has each on three instances once, page by page, in the order %s', async (order) => {
    const all = Array.from({ length: 1_000 }, (_, n) => connection(n));
    const instances = [0, 1, 2].map((at) => all.filter((_, n) => n % 3 === at));
    const expected = [...all].sort((a, b) => comparePlaces(placeOf(a, order), placeOf(b, order)));
    expect(await readAll(instances, order)).toEqual(expected.map(({ id }) => id));
  });

  it('has each connection once, however many are equal in all but their ids', async () => {
    const connections = fc.array(fc.record({ openedAt: fc.integer({ min: 0, max: 3 }), lag: fc.nat(2) }), {
      maxLength: 3 * PAGE_ROWS,
    });
    await fc.assert(
      fc.asyncProperty(connections, fc.constantFrom(...ORDERS), async (given, order) => {
        const all = given.map(({ openedAt, lag }, n) =>
          connection(n, { openedAt, feed: { kind: 'run', names: [], isBehind: true, lagEvents: lag } }),
        );
        const ids = await readAll([all.slice(0, 20), all.slice(20)], order);
        expect(ids.toSorted()).toEqual(all.map(({ id }) => id));
      }),
      { numRuns: 30 },
    );
  });

  it.each([
    ['a key', 'ANNA', 1],
    ['a topic', 'invoices', 1],
    ['a route', '/connect', 1],
    ['an address', '10.9.', 1],
    ['an id', '00000004', 1],
    ['nothing', 'nobody', 0],
    ['all', '', 5],
  ])('is filtered by %s', async (_what, filter, total) => {
    const { rows, ...part } = await listOf({ list: 'connections', filter }, [
      connection(0, { keys: ['tenant', 'anna'] }),
      connection(1, { feed: { kind: 'topics', names: ['a', 'invoices.7'], isBehind: false, lagEvents: 0 } }),
      connection(2, { route: '/connect' }),
      connection(3, { address: '10.9.8.7' }),
      connection(4, { feed: undefined }),
    ]);
    expect([part.total, rows.length]).toEqual([total, total]);
  });

  it('makes ids for the rows that are shown alone', async () => {
    let made = 0;
    const all = Array.from({ length: 1_000 }, (_, n) => ({
      ...connection(n, { openedAt: n }),
      get id() {
        made += 1;
        return `${n}`;
      },
    }));
    await listOf({ list: 'connections' }, all);
    expect(made).toBe(2 * PAGE_ROWS);
  });
});

describe('the lists of names', () => {
  it('sum up topics and keys over connections, runs and instances', async () => {
    const here = [connection(1), connection(2, { keys: ['user1'] })];
    const there = [connection(3, { keys: ['user1', 'tenant'] }), connection(4, { feed: undefined })];
    const join = async (list: 'topics' | 'keys') =>
      joinParts(list, [
        await listOf({ list }, here, [run({ owner: 'user1' })]),
        await listOf({ list }, there),
      ]);
    expect(await join('topics')).toEqual({
      total: 1,
      isCut: false,
      rows: [{ kind: 'topics', name: 'orders.*', followers: 3, behind: 0, maxLagEvents: 2 }],
    });
    const { rows, total } = await join('keys');
    expect(total).toBe(3);
    expect(rows).toEqual([
      { kind: 'keys', key: 'user1', connections: 3, behind: 0, runs: 1 },
      { kind: 'keys', key: 'tenant', connections: 1, behind: 0, runs: 0 },
      { kind: 'keys', key: 'user4', connections: 1, behind: 0, runs: 0 },
    ]);
  });

  it('count 20,000 names at most, and say so', async () => {
    const all = Array.from({ length: 20_001 }, (_, n) => connection(n));
    const { total, rows, isCut } = await listOf({ list: 'keys' }, all);
    expect([total, rows.length, isCut]).toEqual([20_000, PAGE_ROWS, true]);
    expect(await listOf({ list: 'keys', filter: 'user20000' }, all)).toMatchObject({
      total: 1,
      isCut: false,
    });
  });

  it('show runs, the youngest first', async () => {
    const runs = [run({ id: 'old' }), run({ id: 'young', startedAt: Date.now(), owner: undefined })];
    const { rows } = await listOf({ list: 'runs' }, [], runs);
    expect(rows).toMatchObject([
      { id: 'young', owner: '', instance: 'i' },
      { id: 'old', owner: 'anna' },
    ]);
    expect((await listOf({ list: 'runs', filter: 'anna' }, [], runs)).total).toBe(1);
  });
});
