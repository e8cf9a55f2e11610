import { setMaxListeners } from 'node:events';
import type { SseError } from '../../errors/index.js';
import { NO_APP } from '../../log/index.js';
import { NonceSource, RecordCheck } from '../index.js';
import type {
  EngineContext,
  EventLogFactory,
  EventLogStore,
  Lease,
  LogPage,
  NamedLog,
} from '../../log/index.js';
import { EpochLease } from './epoch-lease.js';
import { unavailable } from './failure.js';
import { LATE, NatsHealth } from './health.js';
import { Leases } from './lease.js';
import { pause } from '../../time/index.js';
import { NatsLink } from './link.js';
import { NamedLogs } from './named/logs.js';
import { NatsEventLog } from './nats.event-log.js';
import type { NatsContext } from './nats.event-log.js';
import { natsSettings } from './options.js';
import type { NatsLogOptions, NatsSettings } from './options.js';
import { Publisher } from './appends.js';
import { NatsRelayTarget } from './relay.js';
import { RelayNotes } from './relay-notes.js';
import { planOfEvents, planOfLeases, planOfLogs, planOfNotices } from './plans.js';
import { ServerClock } from './server-clock.js';
import { NatsStream } from './stream.js';

/**
 * A log on NATS JetStream 2.9 or later, which all instances of the app share. The stream is created if it does not
 * exist, else checked. It needs `@nats-io/transport-node` and `@nats-io/jetstream` 3.4.
 *
 * @example
 * ```ts
 * import { SseModule } from 'nestjs-event-stream';
 * import { nats } from 'nestjs-event-stream/nats';
 *
 * SseModule.forRoot({ log: nats({ servers: 'nats://localhost:4222' }) });
 * ```
 *
 * @throws SseError `options-invalid`
 */
export function nats(options: NatsLogOptions): EventLogFactory {
  const settings = natsSettings(options);
  return (context = NO_APP) => new NatsEventLogStore(settings, context);
}

const LEAST_NAMED_BYTES = 1_048_576;

class NatsEventLogStore implements EventLogStore {
  readonly isShared = true;
  readonly health = new NatsHealth();
  readonly log: NatsEventLog;
  readonly relay: NatsRelayTarget;
  readonly #link: NatsLink;
  readonly #publisher: Publisher;
  readonly #named: NamedLogs;
  readonly #closed = new AbortController();
  #closing: Promise<void> | undefined;
  #isRepairing = false;

  constructor(settings: NatsSettings, engine: EngineContext) {
    setMaxListeners(0, this.#closed.signal);
    const base = `${settings.prefix}.${settings.log}`;
    const link = new NatsLink(settings, async () => {
      await events.ensure();
      this.health.report('connection', undefined);
    });
    const events = new NatsStream(link, planOfEvents(settings, base), (work) => epochLease.hold(work));
    const publisher = new Publisher(link, settings, {
      onNoStream: (stream) => this.#repair(stream === events.name ? events : undefined),
      onTaken: () => this.health.clear('writing'),
      onRefused: (why) => this.health.report('writing', `it refuses events: ${why}`, 'refused'),
      onLate: () => this.health.report('writing', 'it does not take events in time', LATE),
    });
    const check = new RecordCheck('NATS', engine);
    const context: NatsContext = {
      engine,
      rules: { check, limits: engine },
      // Records of runs are no events, and may be larger than maxEventBytes.
      namedRules: { check, limits: { maxEventBytes: Math.max(engine.maxEventBytes, LEAST_NAMED_BYTES) } },
      settings,
      link,
      publisher,
      health: this.health,
      nonces: new NonceSource(),
      closed: this.#closed.signal,
    };
    this.log = new NatsEventLog(context, events, `${base}.events`);
    const streams = {
      logs: new NatsStream(link, planOfLogs(settings, base)),
      leases: new NatsStream(link, planOfLeases(settings, base)),
      notices: new NatsStream(link, planOfNotices(settings, base)),
    };
    const clock = new ServerClock(context, streams.leases, `${base}.clock`);
    const leases = new Leases(context, streams.leases, clock, `${base}.leases`);
    const epochLease = new EpochLease(link, streams.leases, leases);
    this.relay = new NatsRelayTarget(context, events, {
      base: `${base}.events`,
      notes: new RelayNotes(context, streams.leases, `${base}.leases`),
    });
    this.#named = new NamedLogs(context, streams, { base, clock, leases });
    this.#link = link;
    this.#publisher = publisher;
    link.onConnection((isConnected) => this.#onConnection(isConnected));
    link.whenStarted().catch((error: unknown) => {
      this.health.report('connection', unavailable(error).message);
    });
  }

  async open(name: string, options: { maxEvents: number; ttlMs: number; lease?: Lease }): Promise<NamedLog> {
    return this.#named.open(name, options);
  }

  async find(
    name: string,
    page: { from: number; limit: number },
  ): Promise<{ log: NamedLog; page: LogPage } | undefined> {
    return this.#named.find(name, page);
  }

  async lease(name: string, options: { ttlMs: number }): Promise<Lease | undefined> {
    return this.#named.lease(name, options);
  }

  async claim(name: string, options: { ttlMs: number }): Promise<boolean> {
    return this.#named.claim(name, options);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#closed.abort();
    if (this.#link.isConnected) {
      const released = new AbortController();
      const releasing = this.#named.release().then(() => released.abort());
      await Promise.race([releasing, pause(this.#link.requestTimeoutMs, released.signal)]);
    }
    this.#publisher.close();
    // They stop at once. Their pending requests end with the link.
    const logs = Promise.all([this.log.close(), this.#named.close()]);
    await this.#link.close();
    await logs;
  }

  #onConnection(isConnected: boolean): void {
    if (!isConnected) {
      this.health.report('connection', 'there is no connection');
    } else if (this.#link.hasStarted) {
      // The first connection is reported once the stream exists: see `prepare` of the link.
      this.health.report('connection', undefined);
      this.health.report('writing', undefined, LATE);
    }
  }

  /** Reports why a stream was not created. Pending publishes request it again until their deadline. */
  #reportUnrepaired({ message }: SseError): void {
    // Without a connection, the state of the stream is unknown.
    if (this.#link.isConnected && !this.#closed.signal.aborted) {
      this.health.report('writing', `a stream that is gone cannot be made again: ${message}`, 'refused');
    }
  }

  /** Creates streams again that were deleted. */
  #repair(events: NatsStream | undefined): void {
    if (this.#isRepairing) {
      return;
    }
    this.#isRepairing = true;
    this.log.forget();
    const repairing: Promise<unknown> = events ? events.ensure() : this.#named.prepare();
    repairing
      .catch((error: unknown) => this.#reportUnrepaired(unavailable(error)))
      .finally(() => (this.#isRepairing = false));
  }
}
