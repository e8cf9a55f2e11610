import { describe, expect, it } from '@jest/globals';
import { waitFor } from 'nestjs-event-stream/testing';
import type { EventLogStore } from '../../lib/log/index.js';
import { Ear } from './contract/ear.js';
import { startRedis, startReplica } from '../support/servers/redis-server.js';
import type { RedisServer } from '../support/servers/redis-server.js';
import { EVENTS, META } from '../support/servers/redis-keys.js';
import { append, DEADLINE, open, proxyTo, record, untilReady } from './redis-stores.js';

// Histories that no sequence and no nonce gives away, and requests that arrive after their time.

const follow = async (store: EventLogStore): Promise<Ear> => {
  const ear = new Ear();
  await store.log.follow(ear);
  return ear;
};
const epochOf = (server: RedisServer) => server.command('HGET', META, 'epoch');
const dataOf = async (store: EventLogStore) =>
  (await store.log.page(1, 100)).records.map(({ data }) => Number(data));

/** Until instances have settled on one epoch, which none of them changes any more. */
async function untilSettled(server: RedisServer, ears: readonly Ear[]): Promise<string> {
  let epoch: unknown;
  let since = performance.now();
  await waitFor(async () => {
    const now = await epochOf(server);
    if (now !== epoch) {
      [epoch, since] = [now, performance.now()];
    }
    return performance.now() - since > 2_500 && ears.every((ear) => ear.resets.at(-1)?.epoch === now);
  }, DEADLINE);
  return epoch as string;
}

describe('redis(), when an old copy of the log comes back after a loss', () => {
  it.each([1, 2, 3])('gives it another epoch, whatever its length, and ends: %i instances', async (count) => {
    const server = await startRedis();
    const all = Array.from({ length: count }, () => open(server.port));
    const ears = await Promise.all(all.map(follow));
    await append(all[0]!, 1, 20);
    const first = await epochOf(server);
    await server.saveDump();
    await server.command('FLUSHALL');
    await append(all.at(-1)!, 21, 23);
    await waitFor(() => ears.every((ear) => ear.reasons.length > 0), DEADLINE);
    // One loss is told once.
    expect(ears.map(({ reasons }) => reasons)).toEqual(ears.map(() => ['epoch']));
    const second = await epochOf(server);
    await server.restoreDump();
    const last = await untilSettled(server, ears);
    expect([first, second]).not.toContain(last);
    for (const ear of ears) {
      expect(ear.resets.length).toBeLessThanOrEqual(1 + count);
    }
    await append(all[0]!, 24);
    await waitFor(() => ears.every((ear) => ear.heard.at(-1)?.data === '24'), DEADLINE);
    await Promise.all(all.map(untilReady));
  });

  it('begins anew after a backup that was restored while no instance ran, if the meta hash is deleted', async () => {
    const server = await startRedis();
    const before = open(server.port);
    await append(before, 1, 5);
    const epoch = await epochOf(server);
    await server.saveDump();
    await append(before, 6, 8);
    await before.close();
    await server.restoreDump();
    await server.command('DEL', META);
    const store = open(server.port);
    const ear = await follow(store);
    const { epoch: next, sequence } = await store.log.head();
    // A client that returns with an id of the lost events, or of any before them, gets a reset: the epoch is another.
    expect([next === epoch, sequence]).toEqual([false, 0]);
    await append(store, 9);
    await waitFor(() => ear.heard.at(-1)?.data === '9', DEADLINE);
    expect(await dataOf(store)).toEqual([9]);
    expect(ear.reasons).toEqual([]);
  });

  it('does so for two of them in turn, and with an instance that knows the later one alone', async () => {
    const server = await startRedis();
    const store = open(server.port);
    const ear = await follow(store);
    await append(store, 1, 5);
    const epochs = [await epochOf(server)];
    await server.saveDump();
    await server.command('FLUSHALL');
    await append(store, 6, 8);
    await waitFor(() => ear.reasons.length > 0, DEADLINE);
    epochs.push(await epochOf(server));
    await store.close();
    // It was not there when the first was given up.
    const late = open(server.port);
    const lateEar = await follow(late);
    for (let times = 0; times < 2; times += 1) {
      await server.restoreDump();
      const epoch = await untilSettled(server, [lateEar]);
      expect(epochs).not.toContain(epoch);
      epochs.push(epoch);
      await append(late, 9);
      await waitFor(() => lateEar.heard.at(-1)?.sequence === 6, DEADLINE);
    }
    // What the log knows to be given up is known to one that starts now.
    const former = String(await server.command('HGET', META, 'former'));
    expect(epochs.slice(0, -1).every((epoch) => former.includes(String(epoch)))).toBe(true);
  });

  it('notices by what was acknowledged to it, where its reader had not got that far', async () => {
    const server = await startRedis();
    const proxy = await proxyTo(server);
    const store = open(proxy.port);
    const ear = await follow(store);
    await append(store, 1, 5);
    await ear.until(5);
    await server.saveDump();
    const before = await epochOf(server);
    // Nothing reaches the reader, and publishing goes on.
    await server.command('CLIENT', 'PAUSE', 100, 'WRITE');
    const isReader = (request: string) => /xread/i.test(request);
    void proxy.swallowReply(isReader, 'black hole');
    await append(store, 6, 9);
    await server.restoreDump();
    const epoch = await untilSettled(server, [ear]);
    expect(epoch).not.toBe(before);
    expect(['regressed', 'diverged', 'epoch']).toContain(ear.reasons[0]);
  });

  it('takes back what it has given up of a run as well: its clients are told', async () => {
    const server = await startRedis();
    const store = open(server.port);
    const lease = (await store.lease('run', { ttlMs: 60_000 }))!;
    const log = await store.open('run', { maxEvents: 100, ttlMs: 60_000, lease });
    const ear = new Ear();
    await log.follow(ear);
    await log.append([record(1), record(2)], { lease });
    await ear.until(2);
    await server.saveDump();
    await log.append([record(3), record(4)], { lease });
    await ear.until(4);
    await server.restoreDump();
    await waitFor(() => ear.reasons.length > 0, DEADLINE);
    expect(ear.reasons).toEqual(['regressed']);
  });

  it('takes nothing more of the producer of a run whose events are gone, also before a reader notices', async () => {
    const server = await startRedis();
    const store = open(server.port);
    const lease = (await store.lease('run', { ttlMs: 60_000 }))!;
    const log = await store.open('run', { maxEvents: 100, ttlMs: 60_000, lease });
    await log.append([record(1), record(2)], { lease });
    const keys = [`${EVENTS}:run`, `${META}:run`] as const;
    await server.transaction(keys.map((key) => ['COPY', key, `${key}:copy`]));
    await log.append([record(3)], { lease });
    await server.transaction(keys.map((key) => ['COPY', `${key}:copy`, key, 'REPLACE']));
    // Otherwise a client that asks for all would get 1, 2, 4, as if that were the answer.
    const after = log.append([record(4)], { lease });
    await expect(after).rejects.toMatchObject({ code: 'closed', isOutcomeKnown: true });
    expect((await log.page(1, 10)).records.map(({ data }) => data)).toEqual(['1', '2']);
  });
});

describe('redis(), when a request arrives after its time', () => {
  const isAppend = (request: string) => /evalsha|eval/i.test(request) && request.includes(':publish:');
  const isKept = async (server: RedisServer) =>
    ((await server.command('KEYS', '*:publish:*')) as string[]).length > 0;
  it('does not take a first try again whose second was carried out and forgotten', async () => {
    const server = await startRedis();
    const proxy = await proxyTo(server);
    const store = open(proxy.port, { publishTimeoutMs: 2_000, clockSkewMs: 0 });
    await append(store, 1);
    const held = proxy.holdRequest(isAppend);
    await append(store, 2);
    await waitFor(async () => !(await isKept(server)), DEADLINE);
    expect(await server.sendRaw(await held)).toContain('late');
    expect(await dataOf(store)).toEqual([1, 2]);
  });

  it('does not take one into a run either, whose producer holds its lease still', async () => {
    const server = await startRedis();
    const proxy = await proxyTo(server);
    const store = open(proxy.port, { publishTimeoutMs: 2_000, clockSkewMs: 0 });
    const lease = (await store.lease('run', { ttlMs: 60_000 }))!;
    const log = await store.open('run', { maxEvents: 100, ttlMs: 60_000, lease });
    const held = proxy.holdRequest(isAppend);
    await log.append([record(1)], { lease });
    await waitFor(async () => !(await isKept(server)), DEADLINE);
    expect(await server.sendRaw(await held)).toContain('late');
    expect((await log.page(1, 100)).records.map(({ data }) => data)).toEqual(['1']);
  });

  it.each([10, -10])(
    'keeps its word over a failover between clocks that are %i s apart',
    async (clockSeconds) => {
      const master = await startRedis();
      const replica = await startReplica(master, { clockSeconds });
      const [here, there] = [await master.command('TIME'), await replica.command('TIME')] as [
        string,
        string,
      ][];
      expect(Math.abs(Number(there![0]) - Number(here![0]) - clockSeconds)).toBeLessThan(3);
      const proxy = await proxyTo(master);
      const store = open(proxy.port);
      await append(store, 1);
      const held = proxy.holdRequest(isAppend);
      await append(store, 2);
      // It is carried out, replicated, and nobody hears of it.
      const swallowed = proxy.swallowReply(isAppend, 'black hole');
      const appending = append(store, 3);
      await swallowed;
      await waitFor(async () => (await replica.command('HGET', META, 'sequence')) === '3', DEADLINE);
      proxy.targetPort = replica.port;
      await replica.promote();
      proxy.drop();
      await appending;
      // By the clock of the other it is early, or late.
      await replica.sendRaw(await held);
      await append(store, 4);
      expect(await dataOf(store)).toEqual([1, 2, 3, 4]);
    },
  );

  it('says that it was too late, and that nothing was published', async () => {
    const server = await startRedis();
    const proxy = await proxyTo(server);
    const store = open(proxy.port, { publishTimeoutMs: 500, commandTimeoutMs: 300 });
    await append(store, 1);
    const held = proxy.holdRequest(isAppend);
    const appending = store.log.append([record(2)]);
    await held;
    proxy.blackHole('both');
    await expect(appending).rejects.toMatchObject({ code: 'publish-failed' });
    expect(await server.sendRaw(await held)).toContain('late');
    proxy.heal();
    await append(store, 3);
    expect(await dataOf(store)).toEqual([1, 3]);
  });

  it('takes no lease for somebody who has gone', async () => {
    const server = await startRedis();
    const proxy = await proxyTo(server);
    const store = open(proxy.port, { commandTimeoutMs: 300 });
    await append(store, 1);
    const held = proxy.holdRequest((request) => request.includes(':lease:'));
    await expect(store.lease('run', { ttlMs: 60_000 })).rejects.toMatchObject({ code: 'log-unavailable' });
    const bytes = await held;
    await waitFor(
      async () => Number(((await server.command('TIME')) as string[])[0]) * 1_000 > Date.now() - 1_500,
      DEADLINE,
    );
    const until = performance.now() + 400;
    await waitFor(() => performance.now() > until, DEADLINE);
    await server.sendRaw(bytes);
    expect(await open(server.port).lease('run', { ttlMs: 1_000 })).toBeDefined();
  });
});

describe('redis(), when what a reader waits for never comes', () => {
  it.each<[string, (server: RedisServer) => Promise<unknown>]>([
    [
      'the next entry was deleted before it was read',
      (server) =>
        server.command(
          'EVAL',
          `local head = redis.call('HMGET', KEYS[2], 'sequence', 'nonce')
           redis.call('XADD', KEYS[1], (head[1] + 1) .. '-5', 'c', '1', 'p', head[2], 't', 'a', 'y', '', 'd', '1', 'j', '1')
           redis.call('XADD', KEYS[1], (head[1] + 2) .. '-6', 'c', '1', 'p', '5', 't', 'a', 'y', '', 'd', '2', 'j', '1')
           redis.call('HSET', KEYS[2], 'sequence', head[1] + 2, 'nonce', 6)
           redis.call('XDEL', KEYS[1], (head[1] + 1) .. '-5')`,
          2,
          EVENTS,
          META,
        ),
    ],
    ['the meta hash is ahead', (server) => server.command('HSET', META, 'sequence', 9, 'nonce', 77)],
  ])('tells of the hole and goes on: %s', async (_what, damage) => {
    const server = await startRedis();
    const store = open(server.port);
    const ear = await follow(store);
    await append(store, 1, 3);
    await ear.until(3);
    await damage(server);
    await waitFor(() => ear.reasons.length > 0, DEADLINE);
    expect(ear.reasons).toEqual(['trimmed']);
    await append(store, 4, 5);
    await waitFor(() => ear.heard.at(-1)?.data === '5', DEADLINE);
    expect(ear.heard.slice(-2).map(({ data }) => data)).toEqual(['4', '5']);
    await untilReady(store);
    // Whoever comes back from before it is told, too.
    expect((await store.log.page(4, 10)).first).toBeGreaterThan(4);
  });
});
