import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { waitFor } from 'nestjs-event-stream/testing';
import { LocalServer } from './local-server.js';
import { RedisServer } from './redis-server.js';

const MASTER = 'events';
const DOWN_AFTER_MS = 500;
const FAILOVER_TIMEOUT_MS = 3_000;
const DEADLINE_MS = 20_000;

/**
 * Starts Sentinels that watch a master, and resolves when each knows the others and all replicas.
 *
 * @param options.downAfterMs - see {@link RedisSentinels.takeForDeadAfter}
 */
export async function startSentinels(
  master: RedisServer,
  {
    sentinels,
    replicas,
    downAfterMs = DOWN_AFTER_MS,
  }: { sentinels: number; replicas: number; downAfterMs?: number },
): Promise<RedisSentinels> {
  const quorum = Math.floor(sentinels / 2) + 1;
  const start = () => startSentinel(master.port, { quorum, downAfterMs });
  const servers = await Promise.all(Array.from({ length: sentinels }, start));
  const knowsAll = async (server: RedisServer) => {
    const state = fieldsOf((await server.command('SENTINEL', 'MASTER', MASTER)) as string[]);
    return state['num-other-sentinels'] === `${sentinels - 1}` && state['num-slaves'] === `${replicas}`;
  };
  await waitFor(async () => (await Promise.all(servers.map(knowsAll))).every(Boolean), {
    timeoutMs: DEADLINE_MS,
    describe: 'Sentinels that know one another and the replicas',
  });
  return new RedisSentinels(servers);
}

/** Sentinels that watch a master. */
export class RedisSentinels {
  /** What the master is called. */
  readonly name = MASTER;
  readonly #servers: readonly RedisServer[];

  constructor(servers: readonly RedisServer[]) {
    this.#servers = servers;
  }

  /** For a client. */
  get addresses(): { host: string; port: number }[] {
    return this.#servers.map(({ port }) => ({ host: '127.0.0.1', port }));
  }

  /** The port of the master, once all agree on one that meets the condition. */
  async masterPort(condition: (port: number) => boolean = () => true): Promise<number> {
    const ask = async (server: RedisServer) =>
      (await server.command('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', MASTER)) as [string, string];
    let ports: number[] = [];
    const agree = async () => {
      ports = (await Promise.all(this.#servers.map(ask))).map(([, port]) => Number(port));
      return new Set(ports).size === 1 && condition(ports[0]!);
    };
    await waitFor(agree, {
      timeoutMs: DEADLINE_MS,
      describe: () => `a master; the Sentinels say ${ports.join(' ')}`,
    });
    return ports[0]!;
  }

  /** Sets how long a server that does not answer is taken for alive. */
  async takeForDeadAfter(ms: number): Promise<void> {
    const set = (server: RedisServer) =>
      server.command('SENTINEL', 'SET', MASTER, 'down-after-milliseconds', ms);
    await Promise.all(this.#servers.map(set));
  }

  /** Has them promote a replica while the master is well. Resolves when they have begun. */
  async failover(): Promise<void> {
    // They refuse for as long as they have not heard enough of the replica.
    const isBegun = () =>
      this.#servers[0]!.command('SENTINEL', 'FAILOVER', MASTER).then(
        () => true,
        () => false,
      );
    await waitFor(isBegun, { timeoutMs: DEADLINE_MS, describe: 'Sentinels that begin a failover' });
  }

  async stop(): Promise<void> {
    await Promise.all(this.#servers.map((server) => server.stop()));
  }
}

async function startSentinel(
  masterPort: number,
  { quorum, downAfterMs }: { quorum: number; downAfterMs: number },
): Promise<RedisServer> {
  const server = await LocalServer.start({
    name: 'redis-server',
    ready: /Sentinel ID is/,
    endSignal: 'SIGKILL',
    args: async (port, folder) => {
      // It writes into it what it learns.
      const path = join(folder, 'sentinel.conf');
      const lines = [
        `port ${port}`,
        'bind 127.0.0.1',
        `dir ${folder}`,
        `sentinel monitor ${MASTER} 127.0.0.1 ${masterPort} ${quorum}`,
        `sentinel down-after-milliseconds ${MASTER} ${downAfterMs}`,
        `sentinel failover-timeout ${MASTER} ${FAILOVER_TIMEOUT_MS}`,
      ];
      await writeFile(path, `${lines.join('\n')}\n`);
      return [path, '--sentinel'];
    },
  });
  return new RedisServer(server, []);
}

function fieldsOf(flat: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    flat.flatMap((name, index) => (index % 2 === 0 ? [[name, flat[index + 1]!]] : [])),
  );
}
