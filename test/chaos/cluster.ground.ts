import { startCluster } from '../support/servers/redis-cluster.js';
import type { RedisCluster } from '../support/servers/redis-cluster.js';
import type { RedisServer } from '../support/servers/redis-server.js';
import type { Fault, Ground } from './ground.js';
import { EVENTS, LogRecorder } from './topics/log-recorder.js';
import type { Engine } from './redis-clients.js';

/** A cluster, in which the log moves from node to node. */
export class Cluster implements Ground {
  readonly recorder: LogRecorder;
  readonly #cluster: RedisCluster;
  readonly #slot: number;
  #owner: RedisServer;

  private constructor(cluster: RedisCluster, slot: number, owner: RedisServer) {
    this.#cluster = cluster;
    this.#slot = slot;
    this.#owner = owner;
    this.recorder = new LogRecorder(owner);
  }

  static async start(): Promise<Cluster> {
    const cluster = await startCluster();
    const slot = await cluster.slotOf(EVENTS);
    return new Cluster(cluster, slot, await cluster.ownerOf(slot));
  }

  engineOf(): Engine {
    return { kind: 'cluster', nodes: this.#cluster.addresses };
  }

  // Of a process that has come to its end by itself nothing is left; the proxies of another ground count connections.
  leftovers(): Promise<string[]> {
    return Promise.resolve([]);
  }

  stop(): Promise<void> {
    return this.#cluster.stop();
  }

  readonly faults: Readonly<Record<string, Fault>> = {
    'the slot of the log moves while readers wait': async ({ random }) => {
      const to = random.pick(this.#cluster.nodes.filter((node) => node !== this.#owner));
      await this.#cluster.moveSlot(this.#slot, to);
      this.#owner = to;
      this.recorder.server = to;
    },
  };
}
