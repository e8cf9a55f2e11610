import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { SseTestStream } from 'nestjs-event-stream/testing';
import { waitFor } from 'nestjs-event-stream/testing';
import { changesOf, createPresenceApp } from '../e2e/trust/presence-app.js';
import type { PresenceApp } from '../e2e/trust/presence-app.js';
import { AppProcess, endProcesses } from '../support/apps/app-process.js';
import { closeAll, open, platforms } from '../support/apps/platforms.js';
import { FaultProxy } from '../support/faults/fault-proxy.js';
import { nats } from 'nestjs-event-stream/nats';
import { redis } from 'nestjs-event-stream/redis';
import { startNats } from '../support/servers/nats-server.js';
import { startRedis } from '../support/servers/redis-server.js';
import { outboxEngines } from './outbox-engines.js';
import type { RevertibleServer } from './outbox-engines.js';
import { logOf, PRESENCE } from './presence-logs.js';
import type { EngineName } from './presence-logs.js';
import { urlOfGuideUser } from './redis-guide-user.js';
import { startForgetfulPostgres } from './shared-engines.js';
import type { EngineServer } from './shared-engines.js';

const DEADLINE = { timeoutMs: 20_000 };
const [express, fastify] = platforms;
const engines = [
  { name: 'Redis', start: () => startRedis() },
  { name: 'NATS', start: () => startNats() },
  { name: 'PostgreSQL', start: startForgetfulPostgres },
] as const;

const servers: Partial<Record<EngineName, EngineServer>> = {};
const proxies: FaultProxy[] = [];
beforeAll(async () => {
  await Promise.all(engines.map(async ({ name, start }) => (servers[name] = await start())));
});
afterAll(() => Promise.all(Object.values(servers).map((server) => server.stop())));
afterEach(async () => {
  await closeAll();
  await endProcesses();
  await Promise.all(proxies.splice(0).map((proxy) => proxy.stop()));
});

const until = (lines: string[], last: string) =>
  waitFor(() => lines.at(-1) === last, { ...DEADLINE, describe: () => `${last} after ${lines.join(', ')}` });

describe.each(engines)('presence on several instances on $name', ({ name }) => {
  let server: EngineServer;
  let proxy: FaultProxy;
  beforeEach(async () => {
    server = servers[name]!;
    proxy = await FaultProxy.start(server.port);
    proxies.push(proxy);
  });

  const instance = (platform = express!, presence = PRESENCE) =>
    createPresenceApp(platform, { log: logOf(name, proxy.port), presence, drain: { spreadMs: 0 } });
  const enter = ({ app }: PresenceApp, room: string, id: string) =>
    open(app, `/rooms/${room}/connect?id=${id}`);
  it('knows two tabs on two instances as one member, who leaves with the second', async () => {
    const [one, other] = [await instance(), await instance(fastify)];
    const { lines } = changesOf(one, 'tabs');
    const first = await enter(one, 'tabs', 'anna');
    await until(lines, '+anna =1');
    const second = await enter(other, 'tabs', 'anna');
    await enter(other, 'tabs', 'ben');
    await until(lines, '+ben =2');
    await first.close();
    await enter(other, 'tabs', 'carl');
    await until(lines, '+carl =3');
    // It reads the log before it answers.
    expect(await (await instance()).idsOf('tabs')).toEqual(['anna', 'ben', 'carl']);
    await second.close();
    await until(lines, '-anna =2');
    expect(lines).toEqual(['+anna =1', '+ben =2', '+carl =3', '-anna =2']);
    await waitFor(async () => (await other.idsOf('tabs')).length === 2, DEADLINE);
  });

  it('tells no change at a rolling deploy', async () => {
    const create = (platform = express!) => instance(platform, { ...PRESENCE, graceMs: 3_000 });
    const instances = [await create(), await create(fastify)];
    const watching = await create();
    const { lines } = changesOf(watching, 'deploy');
    const ids = Array.from({ length: 20 }, (_, n) => `user${n}`);
    const clients = ids.map((id, n) => ({ id, at: n % 2, stream: undefined as SseTestStream | undefined }));
    const connect = async (client: (typeof clients)[number]) => {
      client.stream = await enter(instances[client.at]!, 'deploy', client.id);
    };
    await Promise.all(clients.map(connect));
    await waitFor(() => lines.at(-1)?.endsWith('=20'), DEADLINE);
    const before = lines.length;
    for (const n of instances.keys()) {
      const closing = instances[n]!;
      instances[n] = await create();
      await closing.app.close();
      const returning = clients.filter(({ at }) => at === n);
      returning.forEach((client, index) => (client.at = index % 2));
      await Promise.all(returning.map(connect));
    }
    // The grace of the instances that have closed is over before that of a client which leaves now.
    await clients[0]!.stream!.close();
    await until(lines, '-user0 =19');
    expect(lines.slice(before)).toEqual(['-user0 =19']);
    expect(await watching.idsOf('deploy')).toHaveLength(19);
  });

  it('is what was known last while the engine is away, and is right again when it is back, empty', async () => {
    const [one, other] = [await instance(), await instance(fastify)];
    const { lines, states } = changesOf(other, 'away');
    const leaving = await enter(one, 'away', 'anna');
    await enter(one, 'away', 'ben');
    await waitFor(() => lines.at(-1)?.endsWith('=2'), DEADLINE);
    await server.kill();
    await waitFor(() => states.at(-1) === 'stale', DEADLINE);
    await leaving.close();
    await enter(one, 'away', 'carl');
    const { isCurrent, members } = await other.sse.presence('rooms.away').list();
    expect([isCurrent, members.length]).toEqual([false, 2]);

    // Nothing is saved: the engine that comes back is empty.
    await server.restart();
    await waitFor(async () => (await other.idsOf('away')).join() === 'ben,carl', DEADLINE);
    await waitFor(async () => (await other.sse.presence('rooms.away').list()).isCurrent, DEADLINE);
    expect(lines.filter((line) => /[+-]ben/.test(line))).toHaveLength(1);
    expect(await (await instance()).idsOf('away')).toEqual(['ben', 'carl']);
  });
});

describe.each(outboxEngines)('presence on $name that falls back to an older state', ({ name, start }) => {
  let engine: RevertibleServer;
  beforeAll(async () => {
    engine = await start();
  });
  afterAll(() => engine.stop());

  it('tells no change', async () => {
    const { server, keep, restore } = engine;
    const log = () =>
      name === 'NATS'
        ? nats({ servers: `127.0.0.1:${server.port}`, requestTimeoutMs: 5_000 })
        : redis({ url: urlOfGuideUser(server.port) });
    const presence = { ...PRESENCE, graceMs: 5_000 };
    const instances = await Promise.all(
      [express!, fastify!].map((one) => createPresenceApp(one, { log: log(), presence })),
    );
    const { lines } = changesOf(instances[0]!, 'back');
    const enter = async (...ids: string[]) => {
      for (const [n, id] of ids.entries()) {
        await open(instances[n % 2]!.app, `/rooms/back/connect?id=${id}`);
      }
    };
    const knowAll = async () => {
      const lists = await Promise.all(instances.map(({ sse }) => sse.presence('rooms.back').list()));
      return lists.every(({ isCurrent, members }) => isCurrent && members.length === 2 * round);
    };
    let round = 1;
    await enter('user1', 'user2');
    await waitFor(knowAll, DEADLINE);
    // In the second round the older state has a list of all members of each instance.
    for (round = 2; round < 4; round += 1) {
      await keep();
      await enter(`user${2 * round - 1}`, `user${2 * round}`);
      await waitFor(knowAll, DEADLINE);
      const isStale = waitFor(
        async () => !(await instances[0]!.sse.presence('rooms.back').list()).isCurrent,
        DEADLINE,
      );
      await restore();
      await isStale;
      await waitFor(knowAll, DEADLINE);
    }
    expect(lines.filter((line) => line.includes('-'))).toEqual([]);
  }, 120_000);
});

it('loses the members of an instance that is killed, seconds later, on all engines', async () => {
  const script = new URL('presence.app.ts', import.meta.url);
  const ports = engines.map(({ name }) => servers[name]!.port);
  const starting = AppProcess.start(script, ...ports.map(String));
  const instances = await Promise.all(
    engines.map(({ name }, index) =>
      createPresenceApp(express!, { log: logOf(name, ports[index]!), presence: PRESENCE }),
    ),
  );
  const changes = instances.map((instance) => changesOf(instance, 'killed'));
  const killed = await starting;
  await Promise.all(changes.map(({ lines }) => until(lines, '+killed =1')));
  killed.signal('SIGKILL');
  const begin = performance.now();
  await Promise.all(changes.map(({ lines }) => until(lines, '-killed =0')));
  const tookMs = performance.now() - begin;
  expect(tookMs).toBeGreaterThan(PRESENCE.graceMs + PRESENCE.leaseMs / 4);
  expect(tookMs).toBeLessThan(15_000);
  // Node alone may take half a minute to load an app.
}, 120_000);
