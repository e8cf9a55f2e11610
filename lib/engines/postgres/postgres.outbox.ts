import { show, SseError } from '../../errors/index.js';
import { NO_APP } from '../../log/index.js';
import type {
  Appended,
  EngineContext,
  EventLog,
  EventLogStore,
  Lease,
  LogHead,
  LogListener,
  LogPage,
  LogRecord,
  NamedLog,
  NewRecord,
  OutboxFactory,
  RelayTarget,
} from '../../log/index.js';
import { outboxSettings } from './options.js';
import type { PostgresOutboxOptions } from './options.js';
import { OutboxHealth } from './outbox-health.js';
import { openPostgres } from './postgres.event-log-store.js';
import { Relay } from './relay.js';
import { RelayedPublishes } from './relayed-publishes.js';

type OutboxSettings = ReturnType<typeof outboxSettings>;

/**
 * An outbox in PostgreSQL 13 or later, for a log on Redis or NATS: `publish` takes a transaction of the app, and its
 * event goes to the log if the transaction commits. Events get their order in PostgreSQL, and any instance relays them
 * to the log, each once in one epoch of the log.
 *
 * @example
 * ```ts
 * import { Pool } from 'pg';
 * import { SseModule } from 'nestjs-event-stream';
 * import { postgresOutbox } from 'nestjs-event-stream/postgres';
 * import { redis } from 'nestjs-event-stream/redis';
 *
 * const pool = new Pool({ connectionString: 'postgres://localhost/app' });
 * SseModule.forRoot({ log: redis({ url: 'redis://localhost:6379' }), outbox: postgresOutbox({ pool }) });
 * ```
 *
 * @throws SseError `options-invalid`
 */
export function postgresOutbox(options: PostgresOutboxOptions): OutboxFactory {
  const settings = outboxSettings(options);
  return (log, context = NO_APP) => {
    const store = log(context);
    try {
      return new OutboxEventLogStore(store, relayOf(store, settings), { settings, context });
    } catch (error) {
      void store.close();
      throw error;
    }
  };
}

/** @throws SseError `options-invalid` if nothing can be relayed to the log, or it needs no outbox */
function relayOf(store: EventLogStore, settings: OutboxSettings): RelayTarget {
  const { relay } = store;
  if (!relay) {
    throw new SseError(
      'options-invalid',
      store.appendWithin
        ? 'The log is on PostgreSQL, and takes transactions itself: leave out the option "outbox".'
        : 'The option "outbox" is for a log that instances share on Redis or NATS: log: redis(…) or nats(…).',
      { field: 'outbox' },
    );
  }
  if (settings.relay === 'transactional-only' && !relay.allowsDirect) {
    throw new SseError(
      'options-invalid',
      `relay of postgresOutbox() must be 'all' with this log, got ${show(settings.relay)}: NATS appends a relayed event ` +
        'only right after the one before, and each direct publish in between would hold up the relay.',
      { field: 'relay' },
    );
  }
  return relay;
}

/** The store of a log with an outbox: all but the app's log, and its transactions, is that of the log. */
class OutboxEventLogStore implements EventLogStore {
  readonly isShared = true;
  readonly health: OutboxHealth;
  readonly log: OutboxEventLog;
  readonly #store: EventLogStore;
  readonly #source: EventLogStore;
  readonly #relay: RelayTarget;
  #closing: Promise<void> | undefined;

  constructor(
    store: EventLogStore,
    relay: RelayTarget,
    { settings, context }: { settings: OutboxSettings; context: EngineContext },
  ) {
    this.#store = store;
    this.#relay = relay;
    this.#source = openPostgres(settings, context);
    this.health = new OutboxHealth(store.health, this.#source.health);
    this.log = new OutboxEventLog(store.log, this.#source.log, {
      settings,
      relay,
      warn: (message) => context.warn(message),
      onRelay: (trouble) => this.health.onRelay(trouble),
    });
  }

  open(name: string, options: { maxEvents: number; ttlMs: number; lease?: Lease }): Promise<NamedLog> {
    return this.#store.open(name, options);
  }

  find(
    name: string,
    page: { from: number; limit: number },
  ): Promise<{ log: NamedLog; page: LogPage } | undefined> {
    return this.#store.find(name, page);
  }

  lease(name: string, options: { ttlMs: number }): Promise<Lease | undefined> {
    return this.#store.lease(name, options);
  }

  claim(name: string, options: { ttlMs: number }): Promise<boolean> {
    return this.#store.claim(name, options);
  }

  async appendWithin(transaction: unknown, records: readonly NewRecord[]): Promise<void> {
    records.forEach((record) => this.#relay.check(record));
    await this.#source.appendWithin!(transaction, records);
    this.log.expect();
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.health.close();
    const closing = this.log.close();
    // Requests of the relay that are under way end with the connections.
    await Promise.all([this.#store.close(), this.#source.close()]);
    await closing;
  }
}

interface OutboxLogOptions {
  readonly settings: OutboxSettings;
  readonly relay: RelayTarget;
  readonly warn: (message: string) => void;
  readonly onRelay: (trouble: string | undefined) => void;
}

/** For how long an event of a transaction is expected in the outbox: somewhat longer than this process looks for it. */
const EXPECTED_MS = 3_000;

/** The app's log. What is appended goes by the outbox; what is read comes from the log. */
class OutboxEventLog implements EventLog {
  readonly #log: EventLog;
  readonly #source: EventLog;
  readonly #settings: OutboxSettings;
  readonly #target: RelayTarget;
  readonly #relay: Relay;
  readonly #publishes: RelayedPublishes;
  #trouble: string | undefined;
  #expectedUntil = -Infinity;
  #starting: Promise<void> | undefined;

  constructor(log: EventLog, source: EventLog, { settings, relay, warn, onRelay }: OutboxLogOptions) {
    this.#log = log;
    this.#source = source;
    this.#settings = settings;
    this.#target = relay;
    this.#publishes = new RelayedPublishes(log);
    this.#relay = new Relay({
      source,
      target: relay,
      publishes: this.#publishes,
      onState: (error) => {
        this.#trouble = error === undefined ? undefined : messageOf(error);
        onRelay(this.#trouble);
      },
      warn,
    });
  }

  async append(records: readonly NewRecord[], options?: { lease?: Lease }): Promise<Appended> {
    if (records.length === 0 || this.#settings.relay === 'transactional-only') {
      return this.#log.append(records, options);
    }
    records.forEach((record) => this.#target.check(record));
    const startedAt = performance.now();
    const appended = await this.#source.append(records);
    this.#relay.wake();
    const leftMs = this.#settings.publishTimeoutMs - (performance.now() - startedAt);
    return this.#publishes.wait(appended, { timeoutMs: Math.max(1, leftMs), why: () => this.#trouble });
  }

  page(from: number, limit: number): Promise<LogPage> {
    return this.#log.page(from, limit);
  }

  head(): Promise<LogHead> {
    return this.#log.head();
  }

  async follow(
    listener: LogListener,
    options?: { recent?: number; recentBytes?: number },
  ): Promise<{ head: LogHead; recent: readonly LogRecord[]; stop: () => void }> {
    this.#starting ??= this.#start().catch((error: unknown) => {
      this.#starting = undefined;
      throw error;
    });
    await this.#starting;
    return this.#log.follow(listener, options);
  }

  /** Expects that a transaction of this process commits soon: its events are relayed at once. */
  expect(): void {
    this.#expectedUntil = performance.now() + EXPECTED_MS;
  }

  async close(): Promise<void> {
    this.#publishes.close();
    await this.#relay.close();
  }

  /** Follows the outbox, which notifies of what was committed, and keeps its health. */
  async #start(): Promise<void> {
    await this.#source.follow({
      onRecords: () => {
        // Other instances relay what they have published; what they leave is relayed within a second.
        if (performance.now() < this.#expectedUntil) {
          this.#relay.wake();
        }
      },
      onReset: () => this.#relay.wake(),
    });
    this.#relay.start();
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
