import {
  closed,
  EngineWatch,
  HealthState,
  HeldLeases,
  leaseLost,
  LogKnowledge,
  logPageOf,
  newEpoch,
  NonceSource,
  RecordCheck,
  untilInTime,
} from '../index.js';
import { NO_APP } from '../../log/index.js';
import type {
  EngineContext,
  EventLogFactory,
  EventLogStore,
  Lease,
  LogPage,
  NamedLog,
} from '../../log/index.js';
import { connectionsOf, connectionsTo } from './clients.js';
import { findPage, RedisEventLog, unavailable } from './redis.event-log.js';
import type { RedisContext } from './redis.event-log.js';
import { failureOf, RedisFailure } from './failure.js';
import { RedisKeys } from './keys.js';
import { RedisLeaseKeeper } from './lease-keeper.js';
import { RedisLink } from './link.js';
import { redisSettings } from './options.js';
import type { RedisLogOptions, RedisSettings } from './options.js';
import { RedisReader } from './reader.js';
import { RedisRelayTarget } from './relay.js';
import { CLAIM, OPEN, TAKE_LEASE } from './scripts.js';
import type { RedisScript } from './scripts.js';

/**
 * A log on Redis 6.2 or later, or Valkey, which all instances of the app share: on one server, with Sentinel, or on a
 * Cluster. Each process opens two connections and closes them.
 *
 * @example
 * ```ts
 * import { Redis } from 'ioredis';
 * import { SseModule } from 'nestjs-event-stream';
 * import { redis } from 'nestjs-event-stream/redis';
 *
 * SseModule.forRoot({
 *   log: redis({ client: () => new Redis('redis://localhost:6379', { lazyConnect: true }) }),
 * });
 * ```
 *
 * @throws SseError `options-invalid`
 */
export function redis(options: RedisLogOptions): EventLogFactory {
  const settings = redisSettings(options);
  return (context = NO_APP) => new RedisEventLogStore(settings, context);
}

/** The reply of a script that came after its deadline. */
const TOO_LATE = '-';
// The default of maxEventBytes.
const LEAST_RECORD_BYTES = 1_048_576;

class RedisEventLogStore implements EventLogStore {
  readonly isShared = true;
  readonly health = new HealthState('down', 'Redis: there is no connection yet');
  readonly log: RedisEventLog;
  readonly relay: RedisRelayTarget;
  readonly #context: RedisContext;
  readonly #closed = new AbortController();
  readonly #leases: HeldLeases;
  #closing: Promise<void> | undefined;

  constructor(settings: RedisSettings, engine: EngineContext) {
    const { commandTimeoutMs, maxEvents, maxAgeMs } = settings;
    const { maxEventBytes } = engine;
    const open = settings.client ? connectionsOf(settings.client) : connectionsTo(settings.url!);
    const keys = new RedisKeys(settings.prefix, settings.log);
    const commands = new RedisLink(open, commandTimeoutMs);
    const { meta } = keys.log();
    const watch = new EngineWatch<RedisFailure>(
      'Redis',
      {
        look: async () => {
          const reply = await commands.send(['HMGET', meta, 'epoch', 'sequence']);
          const [epoch, sequence] = reply as [string | null, string | null];
          return { epoch: epoch ?? '', sequence: Number(sequence) };
        },
        failureOf: (error) => (error instanceof RedisFailure ? error : failureOf(error)),
        dropCommands: () => commands.drop(),
        place: () => reader.get(keys.log())?.head,
        isHeldUp: () => reader.isHeldUp,
        reconnect: () => reader.reconnect(),
      },
      this.health,
    );
    const knowledge = new LogKnowledge();
    const reader = new RedisReader(new RedisLink(open, commandTimeoutMs), {
      listener: watch,
      knowledge,
      wake: async (id) => (await commands.send(['CLIENT', 'UNBLOCK', String(id)])) === 1,
    });
    const check = new RecordCheck('Redis', engine);
    this.#context = {
      settings,
      keys,
      nonces: new NonceSource(),
      commands,
      reader,
      watch,
      knowledge,
      closed: this.#closed.signal,
      rulesOf: ({ events }, isNamed) => ({
        check,
        key: events,
        // Records of runs are no events. A small maxEventBytes does not apply to them.
        maxEventBytes: isNamed ? Math.max(maxEventBytes, LEAST_RECORD_BYTES) : maxEventBytes,
      }),
    };
    this.#leases = new HeldLeases(new RedisLeaseKeeper(commands), this.#closed.signal);
    this.log = new RedisEventLog(this.#context, { keys: keys.log(), maxEvents, maxAgeMs });
    this.relay = new RedisRelayTarget(this.#context, (place) => {
      knowledge.acknowledge(place);
      reader.get(keys.log())?.acknowledge(place);
    });
  }

  async open(
    name: string,
    { maxEvents, ttlMs, lease }: { maxEvents: number; ttlMs: number; lease?: Lease },
  ): Promise<NamedLog> {
    const keys = this.#context.keys.log(name);
    const leaseKey = this.#context.keys.lease(name);
    const epoch = await this.#run(OPEN, [keys.events, keys.meta, leaseKey], (deadline) => [
      newEpoch(),
      String(ttlMs),
      String(maxEvents),
      lease ? String(lease.token) : '',
      deadline,
    ]);
    if (epoch === '' || lease?.signal.aborted) {
      throw leaseLost(epoch === '');
    }
    return this.#logOf(name, { epoch: epoch as string, maxEvents, ttlMs });
  }

  async find(
    name: string,
    { from, limit }: { from: number; limit: number },
  ): Promise<{ log: NamedLog; page: LogPage } | undefined> {
    const keys = this.#context.keys.log(name);
    const found = await findPage(this.#context, keys, { from, limit });
    if (!found) {
      return undefined;
    }
    const { head, maxEvents, ttlMs } = found;
    return {
      log: this.#logOf(name, { epoch: head.epoch, maxEvents, ttlMs }),
      page: logPageOf(found, from, this.#context.rulesOf(keys, true)),
    };
  }

  async lease(name: string, { ttlMs }: { ttlMs: number }): Promise<Lease | undefined> {
    const { keys } = this.#context;
    const key = keys.lease(name);
    const askedAt = performance.now();
    const token = await this.#run(TAKE_LEASE, [key, keys.token], (deadline) => [
      String(ttlMs),
      String(Date.now()),
      deadline,
    ]);
    if (token === '') {
      return undefined;
    }
    return this.#leases.hold(key, Number(token), { ttlMs, askedAt });
  }

  async claim(name: string, { ttlMs }: { ttlMs: number }): Promise<boolean> {
    const key = this.#context.keys.claim(name);
    const claimed = await this.#run(CLAIM, [key], (deadline) => [String(Math.ceil(ttlMs)), deadline]);
    return claimed === 1;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const { commands, reader, watch } = this.#context;
    this.#closed.abort();
    watch.close();
    // While the link is open, so that other instances need not wait until the leases expire.
    await this.#leases.releaseAll();
    reader.close();
    commands.close();
  }

  #logOf(name: string, target: { epoch: string; maxEvents: number; ttlMs: number }): RedisEventLog {
    const keys = this.#context.keys.log(name);
    return new RedisEventLog(this.#context, { keys, ...target }, this.#context.keys.lease(name));
  }

  /** Runs a script that Redis refuses when its caller has stopped waiting. */
  async #run(
    script: RedisScript,
    keys: readonly string[],
    argsOf: (deadline: string) => readonly string[],
  ): Promise<unknown> {
    const { commands, settings } = this.#context;
    if (this.#closed.signal.aborted) {
      throw closed(true);
    }
    const send = async (limits: { leftMs: number; timeoutMs: number }) => {
      const reply = await commands.runBefore(script, keys, argsOf, limits);
      return reply === TOO_LATE ? undefined : reply;
    };
    try {
      return await untilInTime(send, {
        timeoutMs: settings.commandTimeoutMs,
        forgetClock: () => commands.forgetClock(),
        late: (message) => new RedisFailure(message, { reply: 'LATE', mayHaveRun: false }),
      });
    } catch (error) {
      throw this.#closed.signal.aborted ? closed(true) : unavailable(error);
    }
  }
}
