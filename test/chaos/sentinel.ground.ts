import { waitFor } from 'nestjs-event-stream/testing';
import { startRedis, startReplica } from '../support/servers/redis-server.js';
import type { Random } from '../support/random.js';
import type { RedisServer } from '../support/servers/redis-server.js';
import { startSentinels } from '../support/servers/redis-sentinels.js';
import type { RedisSentinels } from '../support/servers/redis-sentinels.js';
import { AWAY } from './ground.js';
import type { Fault, Ground } from './ground.js';
import { joins, keyFaults, loseLog } from './redis-log-faults.js';
import { META } from '../support/servers/redis-keys.js';
import { LogRecorder } from './topics/log-recorder.js';
import type { Engine } from './redis-clients.js';

const DEADLINE_MS = 20_000;
/** On a busy machine, a server that is well may say nothing for a second. Sentinels promote when a fault has them do so. */
const CALM_MS = 120_000;
const HASTY_MS = 500;

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
    this.recorder = new LogRecorder(master, [replica]);
  }

  static async start(): Promise<Sentinels> {
    const master = await startRedis();
    const replica = await startReplica(master);
    const sentinels = await startSentinels(master, { sentinels: 3, replicas: 1, downAfterMs: CALM_MS });
    return new Sentinels(sentinels, master, replica);
  }

  engineOf(): Engine {
    return { kind: 'sentinel', name: this.#sentinels.name, sentinels: this.#sentinels.addresses };
  }

  // Of a process that has come to its end by itself nothing is left; the proxies of another ground count connections.
  leftovers(): Promise<string[]> {
    return Promise.resolve([]);
  }

  async stop(): Promise<void> {
    await this.recorder.stop();
    await this.#sentinels.stop();
    await Promise.all([this.#master, this.#replica].map((server) => server.stop()));
  }

  get faults(): Readonly<Record<string, Fault>> {
    return { ...keyFaults(this.recorder), ...this.#failovers };
  }

  readonly #failovers: Readonly<Record<string, Fault>> = {
    'Sentinels promote a replica': async () => {
      await this.recorder.lookLast();
      this.recorder.expect(this.#replica);
      await this.#master.kill();
      await this.#promoted();
      await this.#rejoin();
    },
    'Sentinels promote a replica, and the old master goes on for a while, and joins': async (stage) => {
      const [old, next] = [this.#master, this.#replica];
      this.recorder.expect(next);
      await this.#sentinels.failover();
      await this.#sentinels.masterPort((port) => port === next.port);
      // Of the connections of instances, some are made anew, to whom Sentinels name; the others stay.
      await killSome(old, stage.random);
      await stage.untilPublished('acknowledged', stage.random.between(100, 300));
      await this.recorder.lookLast();
      await this.recorder.moveTo(next);
      await joins(old, next);
      [this.#master, this.#replica] = [next, old];
    },
    'Sentinels promote a replica that is of a former epoch': async (stage) => {
      const replica = this.#replica;
      const bringBack = stage.sendAway(AWAY);
      await this.recorder.look();
      await this.#isReplicated(this.recorder.head);
      await replica.saveDump();
      await replica.kill();
      await loseLog(this.recorder, stage);
      await this.recorder.lookLast();
      this.recorder.expect(replica);
      await replica.restoreDump();
      await this.#master.kill();
      await this.#promoted();
      await this.#rejoin();
      await stage.untilPublished('acknowledged', 50);
      await stage.settle();
      bringBack();
    },
  };

  /** Until the replica has what clients may have seen. */
  async #isReplicated(sequence: number): Promise<void> {
    const hasIt = async () => Number(await this.#replica.command('HGET', META, 'sequence')) >= sequence;
    await waitFor(hasIt, { timeoutMs: DEADLINE_MS, describe: 'a replica that has what was written down' });
  }

  /** Until Sentinels have noticed that the master is dead, and name the replica as the master. */
  async #promoted(): Promise<void> {
    const [old, next] = [this.#master, this.#replica];
    await this.#sentinels.takeForDeadAfter(HASTY_MS);
    await this.#sentinels.masterPort((port) => port === next.port);
    await this.#sentinels.takeForDeadAfter(CALM_MS);
    [this.#master, this.#replica] = [next, old];
    this.recorder.server = next;
  }

  /**
   * Has what was the master come back as a replica, from its first moment: an instance that has asked a Sentinel just
   * before the promotion would take an empty master for the log.
   */
  async #rejoin(): Promise<void> {
    await this.#replica.restart({ arguments: ['--replicaof', '127.0.0.1', `${this.#master.port}`] });
    await this.#replica.follow(this.#master.port);
  }
}

/** Ends connections of instances at random, at least one. */
async function killSome(server: RedisServer, random: Random): Promise<void> {
  const clients = (await server.command('CLIENT', 'LIST', 'TYPE', 'normal')) as string;
  // Of instances that publish and read; Sentinels do neither.
  const ids = Array.from(
    clients.matchAll(/^id=(\d+) .*cmd=(?:xread|eval(?:sha)?|hmget)\b/gm),
    ([, id]) => id!,
  );
  const killed = ids.filter((_, index) => index === 0 || random.next() < 0.5);
  for (const id of killed) {
    await server.command('CLIENT', 'KILL', 'ID', id);
  }
}
