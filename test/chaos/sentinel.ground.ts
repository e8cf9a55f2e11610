import { startRedis, startReplica } from '../support/servers/redis-server.js';
import type { RedisServer } from '../support/servers/redis-server.js';
import { startSentinels } from '../support/servers/redis-sentinels.js';
import type { RedisSentinels } from '../support/servers/redis-sentinels.js';
import type { Fault, Ground } from './ground.js';
import { LogRecorder } from './topics/log-recorder.js';
import type { Engine } from './redis-clients.js';

/** A master, its replica, and Sentinels that promote it. */
export class Sentinels implements Ground {
  readonly recorder: LogRecorder;
  readonly #sentinels: RedisSentinels;
  #master: RedisServer;
  #replica: RedisServer;

  private constructor(sentinels: RedisSentinels, master: RedisServer, replica: RedisServer) {
    this.#sentinels = sentinels;
    this.#master = master;
    this.#replica = replica;
    this.recorder = new LogRecorder(master);
  }

  static async start(): Promise<Sentinels> {
    const master = await startRedis();
    const replica = await startReplica(master);
    return new Sentinels(await startSentinels(master, { sentinels: 3, replicas: 1 }), master, replica);
  }

  engineOf(): Engine {
    return { kind: 'sentinel', name: this.#sentinels.name, sentinels: this.#sentinels.addresses };
  }

  // Of a process that has come to its end by itself nothing is left; the proxies of another ground count connections.
  leftovers(): Promise<string[]> {
    return Promise.resolve([]);
  }

  async stop(): Promise<void> {
    await this.#sentinels.stop();
    await Promise.all([this.#master, this.#replica].map((server) => server.stop()));
  }

  readonly faults: Readonly<Record<string, Fault>> = {
    'Sentinels promote a replica': async () => {
      const [old, next] = [this.#master, this.#replica];
      await this.recorder.lookLast();
      await old.kill();
      await this.#sentinels.masterPort((port) => port === next.port);
      [this.#master, this.#replica] = [next, old];
      this.recorder.server = next;
      await old.restart();
      await old.follow(next.port);
    },
  };
}
