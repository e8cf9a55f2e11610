import { randomBytes, randomFillSync } from 'node:crypto';
import { SseError } from '../sse.errors.js';
import { NO_NONCE } from '../wire/index.js';
import type {
  EventLog,
  EventLogFactory,
  EventLogStore,
  Lease,
  LogHead,
  LogListener,
  LogPage,
  LogRecord,
  NewRecord,
} from './event-log.js';

/** How much `memory()` keeps. The first limit that is reached counts. */
export interface MemoryLogOptions {
  /**
   * Events.
   * @defaultValue 100_000
   */
  maxEvents?: number;
  /**
   * Bytes of topics, types and data, with 100 for each event's own bookkeeping.
   * @defaultValue 64 MiB (67_108_864)
   */
  maxBytes?: number;
  /**
   * Milliseconds since an event was published.
   * @defaultValue no limit
   */
  maxAgeMs?: number;
}

/**
 * A log in this process's memory: what one process needs, and no more. After a restart it is
 * another log, with another epoch, and clients that come back are told so by a `reset`.
 *
 * @throws SseError `options-invalid`
 */
export function memory(options: MemoryLogOptions = {}): EventLogFactory {
  const limits = {
    maxEvents: positive('maxEvents', options.maxEvents, 100_000),
    maxBytes: positive('maxBytes', options.maxBytes, 67_108_864),
    maxAgeMs: positive('maxAgeMs', options.maxAgeMs, Infinity),
  };
  return () => new MemoryEventLogStore(limits);
}

function positive(field: string, value: unknown, otherwise: number): number {
  if (value === undefined) {
    return otherwise;
  }
  if (typeof value === 'number' && value >= 1) {
    return value;
  }
  throw new SseError(
    'options-invalid',
    `${field} of memory() must be a number, 1 or more, got ${JSON.stringify(value)}.`,
    {
      field,
    },
  );
}

type Limits = Required<MemoryLogOptions>;

class MemoryEventLogStore implements EventLogStore {
  readonly log: MemoryEventLog;
  readonly #opened = new Map<string, { log: MemoryEventLog; ttlMs: number; timer?: NodeJS.Timeout }>();
  readonly #leases = new Map<string, MemoryLease>();
  readonly #nonces = new NonceSource();
  readonly #limits: Limits;
  #lastToken = 0;
  #isClosed = false;

  constructor(limits: Limits) {
    this.#limits = limits;
    this.log = new MemoryEventLog(limits, this.#nonces);
  }

  async open(name: string, { maxEvents, ttlMs }: { maxEvents: number; ttlMs: number }): Promise<EventLog> {
    this.#refuseIfClosed();
    let opened = this.#opened.get(name);
    if (!opened) {
      const log = new MemoryEventLog({ ...this.#limits, maxEvents }, this.#nonces, () =>
        this.#keepAlive(name),
      );
      log.fence(this.#leases.get(name)?.token ?? 0);
      opened = { log, ttlMs };
      this.#opened.set(name, opened);
    }
    opened.ttlMs = ttlMs;
    this.#keepAlive(name);
    return opened.log;
  }

  async lease(name: string, { ttlMs }: { ttlMs: number }): Promise<Lease | undefined> {
    this.#refuseIfClosed();
    const held = this.#leases.get(name);
    if (held && !held.signal.aborted) {
      return undefined;
    }
    this.#lastToken += 1;
    const lease = new MemoryLease(this.#lastToken, ttlMs);
    this.#leases.set(name, lease);
    this.#opened.get(name)?.log.fence(this.#lastToken);
    return lease;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const lease of this.#leases.values()) {
      await lease.release();
    }
    for (const { log, timer } of this.#opened.values()) {
      clearTimeout(timer);
      log.close();
    }
    this.#opened.clear();
    this.log.close();
  }

  #keepAlive(name: string): void {
    const opened = this.#opened.get(name);
    if (opened) {
      clearTimeout(opened.timer);
      opened.timer = setTimeout(() => {
        this.#opened.delete(name);
        opened.log.close();
      }, opened.ttlMs);
      opened.timer.unref();
    }
  }

  #refuseIfClosed(): void {
    if (this.#isClosed) {
      throw new SseError('closed', 'The log is closed: the app is shutting down.');
    }
  }
}

/** Records in an array, and listeners that are called once a turn with all that it brought. */
class MemoryEventLog implements EventLog {
  readonly #epoch = randomBytes(8).toString('hex');
  readonly #limits: Limits;
  readonly #nonces: NonceSource;
  readonly #onAppend: () => void;
  readonly #listeners = new Set<LogListener>();
  #records: LogRecord[] = [];
  /** Index of the oldest record that is kept. */
  #start = 0;
  #bytes = 0;
  #last = 0;
  /** Kept apart: the head stays where it is when its record grows too old. */
  #headNonce = NO_NONCE;
  #fence = 0;
  /** Appended in this turn, not heard by anyone yet. */
  #unheard: LogRecord[] = [];
  #isClosed = false;

  constructor(limits: Limits, nonces: NonceSource, onAppend: () => void = () => undefined) {
    this.#limits = limits;
    this.#nonces = nonces;
    this.#onAppend = onAppend;
  }

  async append(
    records: readonly NewRecord[],
    { lease }: { lease?: Lease } = {},
  ): Promise<readonly LogRecord[]> {
    if (this.#isClosed) {
      throw new SseError('closed', 'The log is closed: the event was not published.');
    }
    if (lease && (lease.token < this.#fence || lease.signal.aborted)) {
      throw new SseError(
        'lease-lost',
        'The lease was lost: another holder writes now. The event was not published.',
      );
    }
    const time = Date.now();
    const appended = records.map((record) => this.#add(record, time));
    this.#trim(time);
    this.#onAppend();
    return appended;
  }

  async page(from: number, limit: number): Promise<LogPage> {
    this.#trim(Date.now());
    const first = this.#first;
    const index = this.#start + Math.max(0, from - first);
    return {
      epoch: this.#epoch,
      records: this.#records.slice(index, index + limit),
      first,
      head: this.#last,
    };
  }

  async head(): Promise<LogHead> {
    return { epoch: this.#epoch, sequence: this.#last, nonce: this.#headNonce };
  }

  async follow(
    listener: LogListener,
  ): Promise<{ head: LogHead; recent: readonly LogRecord[]; stop: () => void }> {
    // What this turn has brought is among the recent ones, and is heard by those who were here before.
    this.#tell();
    this.#listeners.add(listener);
    const stop = () => void this.#listeners.delete(listener);
    return { head: await this.head(), recent: this.#records.slice(this.#start), stop };
  }

  /** Refuses appends of older holders from now on. */
  fence(token: number): void {
    this.#fence = token;
  }

  close(): void {
    this.#tell();
    this.#isClosed = true;
    this.#listeners.clear();
  }

  get #first(): number {
    return this.#last - (this.#records.length - this.#start) + 1;
  }

  #add(record: NewRecord, time: number): LogRecord {
    const added: LogRecord = { ...record, sequence: this.#last + 1, nonce: this.#nonces.next(), time };
    this.#last = added.sequence;
    this.#headNonce = added.nonce;
    this.#records.push(added);
    this.#bytes += sizeOf(added);
    if (this.#unheard.length === 0) {
      // Frames of one turn leave in one write for each client.
      setImmediate(() => this.#tell());
    }
    this.#unheard.push(added);
    return added;
  }

  #tell(): void {
    if (this.#unheard.length === 0) {
      return;
    }
    const records = this.#unheard;
    this.#unheard = [];
    for (const listener of this.#listeners) {
      listener.onRecords(records);
    }
  }

  #trim(now: number): void {
    const { maxEvents, maxBytes, maxAgeMs } = this.#limits;
    while (this.#start < this.#records.length) {
      const oldest = this.#records[this.#start]!;
      const isOver =
        this.#records.length - this.#start > maxEvents ||
        this.#bytes > maxBytes ||
        now - oldest.time > maxAgeMs;
      if (!isOver) {
        break;
      }
      this.#bytes -= sizeOf(oldest);
      this.#start += 1;
    }
    // Array.shift() moves every record that is left; this moves each one once or less, on average.
    if (this.#start > 1_024 && this.#start * 2 > this.#records.length) {
      this.#records = this.#records.slice(this.#start);
      this.#start = 0;
    }
  }
}

const RECORD_BYTES = 100;

function sizeOf({ topic, type, data }: LogRecord): number {
  return RECORD_BYTES + topic.length + (type?.length ?? 0) + Buffer.byteLength(data);
}

class MemoryLease implements Lease {
  readonly #ended = new AbortController();
  readonly #ttlMs: number;
  #timer: NodeJS.Timeout;

  constructor(
    readonly token: number,
    ttlMs: number,
  ) {
    this.#ttlMs = ttlMs;
    this.#timer = this.#expireLater();
  }

  get signal(): AbortSignal {
    return this.#ended.signal;
  }

  async renew(): Promise<boolean> {
    if (this.signal.aborted) {
      return false;
    }
    clearTimeout(this.#timer);
    this.#timer = this.#expireLater();
    return true;
  }

  async release(): Promise<void> {
    clearTimeout(this.#timer);
    this.#ended.abort();
  }

  #expireLater(): NodeJS.Timeout {
    const timer = setTimeout(() => this.#ended.abort(), this.#ttlMs);
    timer.unref();
    return timer;
  }
}

/** Random numbers are asked for by the thousand: one by one they cost more than the append. */
class NonceSource {
  readonly #pool = new Uint32Array(256);
  #next = this.#pool.length;

  next(): string {
    if (this.#next === this.#pool.length) {
      randomFillSync(this.#pool);
      this.#next = 0;
    }
    const nonce = this.#pool[this.#next]!.toString(16).padStart(8, '0');
    this.#next += 1;
    // The nonce of the place before the first event belongs to no event.
    return nonce === NO_NONCE ? '00000001' : nonce;
  }
}
