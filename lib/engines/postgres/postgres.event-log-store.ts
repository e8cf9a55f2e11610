import { randomUUID } from 'node:crypto';
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
  NewRecord,
} from '../../log/index.js';
import { connectionsOf, connectionsTo } from './connections.js';
import type { PostgresContext } from './context.js';
import { failureOf, PostgresFailure } from './failure.js';
import { installing } from './install.js';
import { PostgresLeaseKeeper } from './lease-keeper.js';
import { PostgresLink } from './link.js';
import type { PostgresFunction } from './link.js';
import { channelOf, storedName } from './names.js';
import { Notifications } from './notifications.js';
import { Notifier } from './notifier.js';
import { postgresSettings } from './options.js';
import type { PostgresLogOptions, PostgresSettings } from './options.js';
import { findPage, PostgresEventLog, unavailable } from './postgres.event-log.js';
import { Outbox } from './outbox.js';
import { PostgresReader } from './reader.js';
import { Upkeep } from './upkeep.js';

/**
 * A log on PostgreSQL 13 or later, which all instances of the app share. Each process opens two connections and closes
 * them. The tables are made at start, unless the user of the connection may not: see `postgresSchema()`.
 *
 * @example
 * ```ts
 * import { Pool } from 'pg';
 * import { SseModule } from 'nestjs-event-stream';
 * import { postgres } from 'nestjs-event-stream/postgres';
 *
 * const pool = new Pool({ connectionString: 'postgres://localhost/app' });
 * SseModule.forRoot({ log: postgres({ pool }) });
 * ```
 *
 * @throws SseError `options-invalid`
 */
export function postgres(options: PostgresLogOptions): EventLogFactory {
  const settings = postgresSettings(options);
  return (context = NO_APP) => openPostgres(settings, context);
}

/** Opens a store on PostgreSQL. */
export function openPostgres(settings: PostgresSettings, context: EngineContext): EventLogStore {
  return new PostgresEventLogStore(settings, context);
}

/** The reply of a function that was called after its deadline. */
const TOO_LATE = '-';
// The default of maxEventBytes.
const LEAST_RECORD_BYTES = 1_048_576;

class PostgresEventLogStore implements EventLogStore {
  readonly isShared = true;
  readonly health = new HealthState('down', 'PostgreSQL: there is no connection yet');
  readonly log: PostgresEventLog;
  readonly #context: PostgresContext;
  readonly #outbox: Outbox;
  readonly #closed = new AbortController();
  readonly #leases: HeldLeases;
  #closing: Promise<void> | undefined;

  constructor(settings: PostgresSettings, engine: EngineContext) {
    this.#context = contextOf(settings, engine, { health: this.health, closed: this.#closed.signal });
    const keeper = new PostgresLeaseKeeper(this.#context.commands, settings.log);
    this.#leases = new HeldLeases(keeper, this.#closed.signal);
    this.#outbox = new Outbox(settings, this.#context);
    this.log = new PostgresEventLog(this.#context, { name: '', maxEvents: settings.maxEvents });
  }

  async open(
    name: string,
    { maxEvents, ttlMs, lease }: { maxEvents: number; ttlMs: number; lease?: Lease },
  ): Promise<NamedLog> {
    const stored = storedName(name);
    const reply = await this.#call('open_log', (deadline) => [
      stored,
      newEpoch(),
      String(maxEvents),
      String(Math.ceil(ttlMs)),
      lease ? String(lease.token) : '',
      deadline,
    ]);
    const [id] = JSON.parse(reply) as [string];
    if (id === 'lease-lost' || lease?.signal.aborted) {
      throw leaseLost(id === 'lease-lost');
    }
    return new PostgresEventLog(this.#context, { name: stored, id, maxEvents });
  }

  async find(
    name: string,
    { from, limit }: { from: number; limit: number },
  ): Promise<{ log: NamedLog; page: LogPage } | undefined> {
    const stored = storedName(name);
    const found = await findPage(this.#context, stored, { from, limit });
    if (!found) {
      return undefined;
    }
    const { id, maxEvents } = found;
    return {
      log: new PostgresEventLog(this.#context, { name: stored, id, maxEvents }),
      page: logPageOf(found, from, this.#context.rulesOf(stored)),
    };
  }

  async lease(name: string, { ttlMs }: { ttlMs: number }): Promise<Lease | undefined> {
    const stored = storedName(name);
    const askedAt = performance.now();
    const token = await this.#call('take_lease', (deadline) => [stored, String(ttlMs), deadline]);
    if (token === '') {
      return undefined;
    }
    return this.#leases.hold(stored, Number(token), { ttlMs, askedAt });
  }

  async claim(name: string, { ttlMs }: { ttlMs: number }): Promise<boolean> {
    const claimed = await this.#call('claim', (deadline) => [storedName(name), String(ttlMs), deadline]);
    return claimed === '1';
  }

  async appendWithin(transaction: unknown, records: readonly NewRecord[]): Promise<void> {
    if (this.#closed.signal.aborted) {
      throw closed(true);
    }
    await this.#outbox.add(transaction, records);
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
    await Promise.all([this.#leases.releaseAll(), this.#outbox.close()]);
    reader.close();
    commands.close();
  }

  /** Calls a function of this log that PostgreSQL refuses when its caller has stopped waiting. */
  async #call(name: PostgresFunction, argsOf: (deadline: string) => readonly string[]): Promise<string> {
    const { commands, settings } = this.#context;
    if (this.#closed.signal.aborted) {
      throw closed(true);
    }
    const argsBefore = (deadline: string) => [settings.log, ...argsOf(deadline)];
    const send = async (limits: { leftMs: number; timeoutMs: number }) => {
      const reply = await commands.callBefore(name, argsBefore, limits);
      return reply === TOO_LATE ? undefined : (reply ?? undefined);
    };
    try {
      return await untilInTime(send, {
        timeoutMs: settings.commandTimeoutMs,
        forgetClock: () => commands.forgetClock(),
        late: (message) => new PostgresFailure(message, { mayHaveRun: false }),
      });
    } catch (error) {
      throw this.#closed.signal.aborted ? closed(true) : unavailable(error);
    }
  }
}

/** Makes the parts of a store. */
function contextOf(
  settings: PostgresSettings,
  engine: EngineContext,
  { health, closed: closing }: { health: HealthState; closed: AbortSignal },
): PostgresContext {
  const { schema, log, pool, url, listenUrl, commandTimeoutMs, maxEvents } = settings;
  const open = pool ? connectionsOf(pool) : connectionsTo(url!);
  const commands = new PostgresLink(installing(open, schema), schema, commandTimeoutMs);
  const reading = new PostgresLink(
    listenUrl === undefined ? open : connectionsTo(listenUrl),
    schema,
    commandTimeoutMs,
  );
  const channel = channelOf(schema, log);
  const knowledge = new LogKnowledge();
  const sender = randomUUID();
  const notifier = new Notifier(commands, { channel, sender });
  const upkeep = new Upkeep(commands, { settings, knowledge, onMore: (id) => onMore(id) });
  const watch = new EngineWatch<PostgresFailure>(
    'PostgreSQL',
    {
      look: () => upkeep.run(),
      failureOf,
      dropCommands: () => commands.drop(),
      place: () => reader.appLog?.head,
      isHeldUp: () => reader.isHeldUp,
      reconnect: () => reader.reconnect(),
    },
    health,
  );
  const reader = new PostgresReader(reading, {
    listener: watch,
    knowledge,
    notifications: new Notifications(reading, {
      notifying: commands,
      channel,
      sender,
      engine,
      hasListenUrl: listenUrl !== undefined,
    }),
    pollMs: settings.pollMs,
    look: () => upkeep.look(),
    replaceEpoch: (epoch, former) => upkeep.replaceEpoch(epoch, former),
  });
  const onMore = (id: string) => {
    reader.onMore(id);
    notifier.notify(id);
  };
  const check = new RecordCheck('PostgreSQL', engine);
  const { maxEventBytes } = engine;
  return {
    settings: { ...settings, maxEvents },
    nonces: new NonceSource(),
    commands,
    reader,
    notifier,
    watch,
    knowledge,
    head: () => upkeep.look(),
    mend: () => upkeep.mend(),
    drain: () => upkeep.drain(),
    rulesOf: (name) => ({
      check,
      key: name === '' ? `log ${log}` : `log ${log}, ${name}`,
      // Records of runs are no events. A small maxEventBytes does not apply to them.
      maxEventBytes: name === '' ? maxEventBytes : Math.max(maxEventBytes, LEAST_RECORD_BYTES),
    }),
    closed: closing,
  };
}
