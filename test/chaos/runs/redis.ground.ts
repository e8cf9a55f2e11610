import { setTimeout as pause } from 'node:timers/promises';
import { FaultProxy } from '../../support/faults/fault-proxy.js';
import type { Random } from '../../support/random.js';
import { startRedis } from '../../support/servers/redis-server.js';
import type { RedisServer } from '../../support/servers/redis-server.js';
import type { Engine } from '../engine.js';
import { ifCopies, wayFaults } from './faults.js';
import type { RunsFault } from './faults.js';
import type { RunsGround } from './ground.js';
import { COPIES, RUN_EVENTS, RedisRunRecorder, WRITES_DOWN } from './redis-run-recorder.js';

const FOREIGN_TIMES = 10;
/** Longer than instances wait for an append, and not as long as a slow run takes. */
const HELD_MS = 2_500;
/** Copies all keys, as a snapshot does. */
const COPY = `
redis.call('SET', KEYS[1], 'copied')
for _, key in ipairs(redis.call('KEYS', '{sse:topics}*')) do
  redis.call('COPY', key, 'copy:' .. key)
end
`;
/** Has the copies take the place of all keys. */
const BRING_BACK = `
redis.call('SET', KEYS[1], 'back')
for _, key in ipairs(redis.call('KEYS', '{sse:topics}*')) do
  redis.call('DEL', key)
end
for _, key in ipairs(redis.call('KEYS', 'copy:*')) do
  redis.call('RENAME', key, string.sub(key, 6))
end
`;
const DEADLINE = { timeoutMs: 20_000 };

/** One Redis, with a network that fails before each instance. */
export class RedisRuns implements RunsGround {
  readonly recorder: RedisRunRecorder;
  readonly ways: readonly FaultProxy[];
  readonly #redis: RedisServer;

  private constructor(redis: RedisServer, ways: readonly FaultProxy[]) {
    this.#redis = redis;
    this.ways = ways;
    this.recorder = new RedisRunRecorder(redis);
  }

  /** @param options.isSynced - whether Redis has written down all that it has acknowledged */
  static async start(instances: number, { isSynced }: { isSynced: boolean }): Promise<RedisRuns> {
    const sync = isSynced ? 'always' : 'no';
    const redis = await startRedis({ arguments: [...WRITES_DOWN, '--appendfsync', sync] });
    const ways = Array.from({ length: instances }, () => FaultProxy.start(redis.port));
    return new RedisRuns(redis, await Promise.all(ways));
  }

  engineOf(slot: number): Engine {
    return { kind: 'url', port: this.ways[slot]!.port };
  }

  async stop(): Promise<void> {
    await Promise.all(this.ways.map((way) => way.stop()));
  }

  get logFaults(): Readonly<Record<string, RunsFault>> {
    return { ...wayFaults(this.ways), ...this.#serverFaults, ...ifCopies(this.#copyFaults) };
  }

  readonly #serverFaults: Readonly<Record<string, RunsFault>> = {
    'Redis is restarted, and has kept all': async (_stage, random) => {
      await this.#redis.kill();
      await pause(random.between(50, 300));
      await this.#redis.restart();
    },
    'another program writes to the keys of runs': async (_stage, random) => {
      for (let times = 0; times < FOREIGN_TIMES; times += 1) {
        const key = await this.#keyOfRun(random);
        if (key !== undefined) {
          await this.#redis.command('XADD', key, '*', 'a', 'b');
        }
        await pause(random.between(5, 50));
      }
    },
    'an append to a run arrives when its key is gone': async () => {
      const isAppend = (request: string) =>
        /evalsha/i.test(request) && request.includes(':publish:') && request.includes('-slow');
      const holding = this.ways.map((way) => way.holdRequest(isAppend));
      const held = await Promise.race([...holding, pause(DEADLINE.timeoutMs)]);
      this.ways.forEach((way) => void way.holdRequest(() => false));
      if (held === undefined) {
        return;
      }
      const key = /\{sse:topics\}:publish:[\w-]+/.exec(held.toString('latin1'))![0];
      await pause(HELD_MS);
      // Of a second try, which was carried out, nothing is left.
      await this.#redis.command('DEL', key);
      await this.#redis.sendRaw(held);
    },
  };

  readonly #copyFaults: Readonly<Record<string, RunsFault>> = {
    'an old copy of all logs comes back': async (_stage, random) => {
      await this.#redis.command('EVAL', COPY, 1, COPIES);
      await pause(random.between(100, 2_500));
      await this.#redis.command('EVAL', BRING_BACK, 1, COPIES);
      if (random.next() < 0.5) {
        // As where the server was restarted with it.
        this.ways.forEach((way) => way.drop());
      }
    },
  };

  /** The stream of a run that there is. */
  async #keyOfRun(random: Random): Promise<string | undefined> {
    const keys = (await this.#redis.command('KEYS', `${RUN_EVENTS}run*`)) as string[];
    return keys.length > 0 ? random.pick(keys) : undefined;
  }
}
