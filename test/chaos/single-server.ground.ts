import { setTimeout as pause } from 'node:timers/promises';
import { waitFor } from 'nestjs-event-stream/testing';
import { FaultProxy } from '../support/faults/fault-proxy.js';
import { findPort } from '../support/servers/local-server.js';
import type { Random } from '../support/random.js';
import { startRedis, startReplica } from '../support/servers/redis-server.js';
import type { RedisCommand, RedisServer } from '../support/servers/redis-server.js';
import { INSTANCES } from './topics/chaos.js';
import { AWAY } from './ground.js';
import type { Fault, Ground } from './ground.js';
import { INSTANCE_FAULTS } from './instance-faults.js';
import { connectionsLeft, loseAnswer, networkFaults } from './network-faults.js';
import { copiesFaults, copyFaults, joins, keyFaults } from './redis-log-faults.js';
import { EVENTS, META } from '../support/servers/redis-keys.js';
import { LogRecorder } from './topics/log-recorder.js';
import type { Engine } from './redis-clients.js';

const LIBRARIES = ['url', 'node-redis', 'ioredis-5'] as const;
const CONNECTIONS_OF_INSTANCE = 2;
const DEADLINE = { timeoutMs: 20_000 };
const LOADING_MS = 1_200;
/** Longer than instances wait for a publish. */
const HELD_MS = 2_500;
const AOF = ['--appendonly', 'yes', '--appendfsync', 'always'];

/** One Redis, with a network that fails before each instance. */
export class SingleServer implements Ground {
  readonly recorder: LogRecorder;
  readonly #proxies: FaultProxy[];
  #redis: RedisServer;

  private constructor(redis: RedisServer, proxies: FaultProxy[]) {
    this.#redis = redis;
    this.#proxies = proxies;
    this.recorder = new LogRecorder(redis);
  }

  static async start(): Promise<SingleServer> {
    const redis = await startRedis();
    const proxies = Array.from({ length: INSTANCES }, () => FaultProxy.start(redis.port));
    return new SingleServer(redis, await Promise.all(proxies));
  }

  engineOf(slot: number): Engine {
    return { kind: LIBRARIES[slot]!, port: this.#proxies[slot]!.port };
  }

  get faults(): Readonly<Record<string, Fault>> {
    const { recorder } = this;
    const ofTheLog = { ...copyFaults(recorder), ...copiesFaults(recorder), ...keyFaults(recorder) };
    return { ...INSTANCE_FAULTS, ...ofTheLog, ...this.#serverFaults };
  }

  leftovers(instances: number): Promise<string[]> {
    return connectionsLeft(this.#proxies, instances > 0 ? CONNECTIONS_OF_INSTANCE : 0);
  }

  async stop(): Promise<void> {
    await this.recorder.stop();
    await Promise.all(this.#proxies.map((proxy) => proxy.stop()));
    await this.#redis.stop();
  }

  readonly #serverFaults: Readonly<Record<string, Fault>> = {
    'Redis is killed, and has kept nothing': async () => {
      await this.recorder.lookLast();
      await this.#redis.kill();
      await pause(200);
      await this.#redis.restart();
    },
    'Redis is killed, and has kept all': async ({ random }) => {
      await this.#redis.command('CONFIG', 'SET', 'appendfsync', 'always');
      await this.#redis.command('CONFIG', 'SET', 'appendonly', 'yes');
      const isWriting = async () => {
        const info = await this.#redis.info('persistence');
        return info['aof_rewrite_in_progress'] === '0' && info['aof_rewrite_scheduled'] === '0';
      };
      await waitFor(isWriting, DEADLINE);
      await pause(random.between(50, 200));
      await this.#redis.kill();
      await this.#redis.restart({ arguments: AOF });
      await this.#redis.command('CONFIG', 'SET', 'appendonly', 'no');
    },
    'Redis is restarted with its data': async () => {
      await this.recorder.lookLast();
      await this.#redis.restart({ keepData: true });
    },
    'Redis is loading for a while': async () => {
      await this.recorder.lookLast();
      // It answers meanwhile, about every kilobyte of the file that it reads.
      const delayUs = Math.ceil((LOADING_MS * 1_000) / Number(await this.#redis.command('DBSIZE')));
      const slowly = ['--key-load-delay', `${delayUs}`, '--loading-process-events-interval-bytes', '1024'];
      await this.#redis.restart({ keepData: true, arguments: slowly });
    },
    'data go back to an old dump': async (stage) => {
      await this.#redis.saveDump();
      const lost = stage.random.between(50, 200);
      await stage.untilPublished('acknowledged', lost);
      const bringBack = stage.sendAway(AWAY);
      await this.recorder.lookLast();
      await this.#redis.restoreDump();
      // Others stand in the places of those that they had seen.
      await stage.burst(2 * lost);
      bringBack();
    },
    'a first try arrives when its key is gone': async (stage) => {
      let held: Buffer | undefined;
      void this.#proxyOf(stage)
        .holdRequest(isAppend)
        .then((request) => (held = request));
      await waitFor(() => held !== undefined, { ...DEADLINE, describe: 'an append that is held' });
      const key = /\{sse:topics\}:publish:[\w-]+/.exec(held!.toString('latin1'))![0];
      await pause(HELD_MS);
      // Of the second try, which was carried out, nothing is left.
      await this.#redis.command('DEL', key);
      await this.#redis.sendRaw(held!);
    },
    'a replica is promoted that lacks the last events': async (stage) => {
      const old = this.#redis;
      const link = await FaultProxy.start(old.port);
      const replica = await startReplica(old, { throughPort: link.port });
      link.blackHole('both');
      await stage.untilPublished('acknowledged', stage.random.between(1, 200));
      await this.recorder.lookLast();
      await old.stop();
      await link.stop();
      await this.#promote(replica);
    },
    'a replica is promoted, and the old server goes on for a while, and joins': async (stage) => {
      const old = this.#redis;
      const replica = await startReplica(old);
      const [stays, ...others] = stage.random.shuffled(this.#proxies);
      this.recorder.expect(replica);
      await replica.promote();
      others.forEach((proxy) => (proxy.targetPort = replica.port));
      others.forEach((proxy) => proxy.drop());
      await stage.untilPublished('acknowledged', stage.random.between(100, 300));
      const bringBack = stage.sendAway(AWAY);
      await this.recorder.lookLast();
      await this.recorder.moveTo(replica);
      this.#redis = replica;
      await joins(old, replica);
      stays!.targetPort = replica.port;
      await stage.settle();
      stays!.drop();
      await old.stop();
      bringBack();
    },
    'a reader is left behind with a server that is in charge of nothing': async (stage) => {
      const old = this.#redis;
      const replica = await startReplica(old);
      await this.recorder.lookLast();
      await this.#promote(replica);
      this.#proxies.forEach((proxy) => proxy.drop((request) => !/xread/i.test(request)));
      // It answers as if nothing were: who reads there hears nothing, and nothing fails.
      await old.command('CLIENT', 'UNPAUSE');
      await stage.settle();
      await old.stop();
    },
    'everything is flushed': () => this.recorder.look([['FLUSHALL']]),
    'the events are deleted': () => this.recorder.look([['DEL', EVENTS]]),
    'the meta hash is deleted': () => this.recorder.look([['DEL', META]]),
    'keys are evicted': async ({ faults }) => {
      await this.#redis.command('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-random');
      // At the limit, any command has Redis evict first. What is appended meanwhile would go before it is written down.
      const evict = Array.from({ length: 20 }, (): RedisCommand => ['PING']);
      await this.recorder.look(
        [['CONFIG', 'SET', 'maxmemory', '1']],
        [...evict, ['CONFIG', 'SET', 'maxmemory', '0']],
      );
      const evicted = Number((await this.#redis.info('stats'))['evicted_keys']);
      if (evicted === 0) {
        faults.push('Redis evicted nothing.');
      }
      await this.#redis.command('CONFIG', 'SET', 'maxmemory-policy', 'noeviction');
      await this.#redis.command('CONFIG', 'RESETSTAT');
    },
    'clients are killed': async () => {
      await this.#redis.command('CLIENT', 'KILL', 'TYPE', 'normal');
    },
    'a reply is swallowed': async (stage) => {
      await loseAnswer(this.#proxyOf(stage), isAppend, 'cut');
    },
    'a reply is swallowed, and nothing more comes': async (stage) => {
      await loseAnswer(this.#proxyOf(stage), isAppend, 'black hole');
    },
    ...networkFaults(() => this.#proxies),
    'Redis is out of memory': async (stage) => {
      await this.#redis.command('CONFIG', 'SET', 'maxmemory', '1');
      await stage.untilPublished('refused', 3);
      await this.#redis.command('CONFIG', 'SET', 'maxmemory', '0');
    },
    'Redis takes no writes': async (stage) => {
      await this.#redis.command('REPLICAOF', '127.0.0.1', await findPort());
      await stage.untilPublished('refused', 3);
      await this.#redis.promote();
    },
    'Redis forgets its scripts': async () => {
      await this.#redis.command('SCRIPT', 'FLUSH');
    },
  };

  async #promote(replica: RedisServer): Promise<void> {
    await replica.promote();
    this.#redis = replica;
    this.recorder.server = replica;
    this.#proxies.forEach((proxy) => (proxy.targetPort = replica.port));
  }

  #proxyOf({ random }: { random: Random }): FaultProxy {
    return random.pick(this.#proxies);
  }
}

function isAppend(request: string): boolean {
  return /evalsha/i.test(request) && request.includes(':publish:');
}
