import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { SseTestStream } from 'nestjs-event-stream/testing';
import { waitFor } from 'nestjs-event-stream/testing';
import { changesOf, createPresenceApp } from '../e2e/trust/presence-app.js';
import type { PresenceApp } from '../e2e/trust/presence-app.js';
import { AppProcess, endProcesses } from '../support/apps/app-process.js';
import { closeAll, open, platforms } from '../support/apps/platforms.js';
import { FaultProxy } from '../support/faults/fault-proxy.js';
import { startNats } from '../support/servers/nats-server.js';
import type { NatsServer } from '../support/servers/nats-server.js';
import { startRedis } from '../support/servers/redis-server.js';
import type { RedisServer } from '../support/servers/redis-server.js';
import { logOf, PRESENCE } from './presence-logs.js';

const DEADLINE = { timeoutMs: 20_000 };
const [express, fastify] = platforms;
const engines = [
  { name: 'Redis', start: () => startRedis() },
  { name: 'NATS', start: () => startNats() },
] as const;

describe.each(engines)('presence on several instances on $name', ({ name, start }) => {
  let server: RedisServer | NatsServer;
  let proxy: FaultProxy;
  beforeAll(async () => {
    server = await start();
  });
  afterAll(() => server.stop());
  beforeEach(async () => {
    proxy = await FaultProxy.start(server.port);
  });
  afterEach(async () => {
    await closeAll();
    await endProcesses();
    await proxy.stop();
  });

  const instance = (platform = express!) =>
    createPresenceApp(platform, {
      log: logOf(name, proxy.port),
      presence: PRESENCE,
      drain: { spreadMs: 0 },
    });
  const enter = ({ app }: PresenceApp, room: string, id: string) =>
    open(app, `/rooms/${room}/connect?id=${id}`);
  const until = (lines: string[], last: string) =>
    waitFor(() => lines.at(-1) === last, { ...DEADLINE, describe: () => lines.join(', ') });

  it('knows two tabs on two instances as one member, who leaves with the second', async () => {
    const [one, other] = [await instance(), await instance(fastify)];
    const changes = changesOf(one, 'tabs');
    const [first, second] = [await enter(one, 'tabs', 'anna'), await enter(other, 'tabs', 'anna')];
    await enter(other, 'tabs', 'ben');
    await until(changes, '+ben =2');
    await first.close();
    await enter(other, 'tabs', 'carl');
    await until(changes, '+carl =3');
    // It reads the log, before it is asked the first time.
    expect(await (await instance()).idsOf('tabs')).toEqual(['anna', 'ben', 'carl']);
    await second.close();
    await until(changes, '-anna =2');
    expect(changes.join(' ')).toBe('=0 +anna =1 +ben =2 +carl =3 -anna =2');
    await waitFor(async () => (await other.idsOf('tabs')).length === 2, DEADLINE);
  });

  it('loses the members of an instance that is killed, seconds later', async () => {
    const script = new URL('presence.app.ts', import.meta.url);
    const killed = await AppProcess.start(script, name, String(server.port));
    const one = await instance();
    const changes = changesOf(one, 'killed');
    await open(killed.base, '/');
    await until(changes, '+killed =1');
    killed.signal('SIGKILL');
    const begin = performance.now();
    await until(changes, '-killed =0');
    const tookMs = performance.now() - begin;
    expect(tookMs).toBeGreaterThan(PRESENCE.graceMs + PRESENCE.leaseMs / 4);
    expect(tookMs).toBeLessThan(5_000);
    expect(await (await instance()).idsOf('killed')).toEqual([]);
  });

  it('tells no change at a rolling deploy', async () => {
    const instances = [await instance(), await instance(fastify)];
    const watching = await instance();
    const changes = changesOf(watching, 'deploy');
    const ids = Array.from({ length: 20 }, (_, n) => `user${n}`);
    let clients = await Promise.all(
      ids.map(async (id, n) => ({ id, at: n % 2, stream: await enter(instances[n % 2]!, 'deploy', id) })),
    );
    await waitFor(async () => (await watching.idsOf('deploy')).length === ids.length, DEADLINE);
    await waitFor(() => changes.at(-1)?.endsWith(`=${ids.length}`), DEADLINE);
    const before = changes.length;
    for (const [n, closing] of instances.entries()) {
      await closing.app.close();
      instances[n] = await instance();
      clients = await Promise.all(
        clients.map(async (client, index) => {
          const at = client.at === n ? index % 2 : client.at;
          return client.at === n
            ? { ...client, at, stream: await enter(instances[at]!, 'deploy', client.id) }
            : client;
        }),
      );
    }
    // Past the grace of those that have closed: one that leaves now is told after them.
    await clients[0]!.stream.close();
    await until(changes, '-user0 =19');
    expect(changes.slice(before)).toEqual(['-user0 =19']);
    expect(await watching.idsOf('deploy')).toHaveLength(19);
  });

  it('is what was known last while the engine is away, and is right again when it is back, empty', async () => {
    const [one, other] = [await instance(), await instance(fastify)];
    const changes = changesOf(other, 'away');
    const leaving: SseTestStream = await enter(one, 'away', 'anna');
    await enter(one, 'away', 'ben');
    await waitFor(() => changes.at(-1)?.endsWith('=2'), DEADLINE);
    await server.kill();
    await until(changes, '=2 stale');
    await leaving.close();
    await enter(one, 'away', 'carl');
    const { isCurrent, members } = await other.sse.presence('rooms.away').list();
    expect([isCurrent, members.length]).toEqual([false, 2]);

    // Nothing is saved: the engine that comes back is empty.
    await server.restart();
    await waitFor(async () => (await other.idsOf('away')).join() === 'ben,carl', DEADLINE);
    await waitFor(async () => (await other.sse.presence('rooms.away').list()).isCurrent, DEADLINE);
    expect(changes.filter((line) => /[+-]ben/.test(line))).toHaveLength(1);
    expect(await (await instance()).idsOf('away')).toEqual(['ben', 'carl']);
  });
});
