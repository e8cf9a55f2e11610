import { waitFor } from 'nestjs-event-stream/testing';
import { startRedis, type RedisServer } from './redis-server.js';

const SLOTS = 16_384;
const NODE_TIMEOUT_MS = 2_000;
const MIGRATE_MS = 5_000;
const DEADLINE_MS = 20_000;

/** Starts masters that share the slots among them, and resolves when all of them serve. */
export async function startCluster(masters = 3): Promise<RedisCluster> {
  const start = () =>
    startRedis({
      arguments: ['--cluster-enabled', 'yes', '--cluster-node-timeout', `${NODE_TIMEOUT_MS}`],
    });
  const nodes = await Promise.all(Array.from({ length: masters }, start));
  for (const [index, node] of nodes.entries()) {
    await node.command('CLUSTER', 'SET-CONFIG-EPOCH', index + 1);
    const from = Math.floor((SLOTS * index) / masters);
    const to = Math.floor((SLOTS * (index + 1)) / masters);
    const slots = Array.from({ length: to - from }, (_, n) => from + n);
    await node.command('CLUSTER', 'ADDSLOTS', ...slots);
    if (index > 0) {
      await node.command('CLUSTER', 'MEET', '127.0.0.1', nodes[0]!.port);
    }
  }
  const serves = async (node: RedisServer) => {
    const info = (await node.command('CLUSTER', 'INFO')) as string;
    return info.includes('cluster_state:ok') && info.includes(`cluster_known_nodes:${masters}\r`);
  };
  await waitFor(async () => (await Promise.all(nodes.map(serves))).every(Boolean), {
    timeoutMs: DEADLINE_MS,
    describe: 'a cluster whose nodes know one another',
  });
  return new RedisCluster(nodes);
}

/** A Redis Cluster that runs. */
export class RedisCluster {
  readonly nodes: readonly RedisServer[];

  constructor(nodes: readonly RedisServer[]) {
    this.nodes = nodes;
  }

  /** For a client. */
  get addresses(): { host: string; port: number }[] {
    return this.nodes.map(({ port }) => ({ host: '127.0.0.1', port }));
  }

  async slotOf(key: string): Promise<number> {
    return (await this.nodes[0]!.command('CLUSTER', 'KEYSLOT', key)) as number;
  }

  async ownerOf(slot: number): Promise<RedisServer> {
    const ranges = (await this.nodes[0]!.command('CLUSTER', 'SLOTS')) as [number, number, [string, number]][];
    const [, , [, port]] = ranges.find(([from, to]) => from <= slot && slot <= to)!;
    return this.nodes.find((node) => node.port === port)!;
  }

  /** Moves a slot and its keys to another node, as one does while clients go on. */
  async moveSlot(slot: number, to: RedisServer): Promise<void> {
    const from = await this.ownerOf(slot);
    const [fromId, toId] = await Promise.all(
      [from, to].map(async (node) => (await node.command('CLUSTER', 'MYID')) as string),
    );
    await to.command('CLUSTER', 'SETSLOT', slot, 'IMPORTING', fromId!);
    await from.command('CLUSTER', 'SETSLOT', slot, 'MIGRATING', toId!);
    for (;;) {
      const keys = (await from.command('CLUSTER', 'GETKEYSINSLOT', slot, 100)) as string[];
      if (keys.length === 0) {
        break;
      }
      await from.command('MIGRATE', '127.0.0.1', to.port, '', 0, MIGRATE_MS, 'KEYS', ...keys);
    }
    // The new owner first: the other way round, for a moment nobody would be.
    await to.command('CLUSTER', 'SETSLOT', slot, 'NODE', toId!);
    await from.command('CLUSTER', 'SETSLOT', slot, 'NODE', toId!);
    const isKnown = async () => (await this.ownerOf(slot)) === to;
    await waitFor(isKnown, { timeoutMs: DEADLINE_MS, describe: `slot ${slot} at its new owner` });
  }

  async stop(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.stop()));
  }
}
