import { startCluster } from '../support/servers/redis-cluster.js';
import type { RedisCluster } from '../support/servers/redis-cluster.js';
import type { RedisServer } from '../support/servers/redis-server.js';
import type { Fault, Ground } from './ground.js';
import { copyFaults, keyFaults } from './redis-log-faults.js';
import { EVENTS } from '../support/servers/redis-keys.js';
import { LogRecorder } from './topics/log-recorder.js';
import type { Engine } from './redis-clients.js';

/** A cluster, in which the log moves from node to node. */
export class Cluster implements Ground {
  readonly recorder: LogRecorder;
  readonly #cluster: RedisCluster;
  readonly #slot: number;
  readonly #withLosses: boolean;
  #owner: RedisServer;

  private constructor(
    cluster: RedisCluster,
    { slot, owner, withLosses }: { slot: number; owner: RedisServer; withLosses: boolean },
  ) {
    this.#cluster = cluster;
    this.#slot = slot;
    this.#withLosses = withLosses;
    this.#owner = owner;
    this.recorder = new LogRecorder(owner, cluster.nodes);
  }

  /** @param options.withLosses - whether the log loses something, too */
  static async start({ withLosses = false } = {}): Promise<Cluster> {
    const cluster = await startCluster();
    const slot = await cluster.slotOf(EVENTS);
    return new Cluster(cluster, { slot, owner: await cluster.ownerOf(slot), withLosses });
  }

  engineOf(): Engine {
    return { kind: 'cluster', nodes: this.#cluster.addresses };
  }

  // Of a process that has come to its end by itself nothing is left; the proxies of another ground count connections.
  leftovers(): Promise<string[]> {
    return Promise.resolve([]);
  }

  async stop(): Promise<void> {
    await this.recorder.stop();
    await this.#cluster.stop();
  }

  get faults(): Readonly<Record<string, Fault>> {
    const { recorder } = this;
    return { ...this.#moves, ...(this.#withLosses && { ...copyFaults(recorder), ...keyFaults(recorder) }) };
  }

  readonly #moves: Readonly<Record<string, Fault>> = {
    'the slot of the log moves while readers wait': async ({ random }) => {
      const to = random.pick(this.#cluster.nodes.filter((node) => node !== this.#owner));
      this.recorder.expect(to);
      await this.#cluster.moveSlot(this.#slot, to);
      this.#owner = to;
      this.recorder.server = to;
    },
  };
}
