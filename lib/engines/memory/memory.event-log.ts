import { OptionChecks, SseError } from '../../errors/index.js';
import { NO_NONCE } from '../../wire/index.js';
import type {
  Appended,
  EngineContext,
  EventLogFactory,
  EventLogStore,
  Lease,
  LogHead,
  LogListener,
  LogPage,
  LogRecord,
  NamedLog,
  NewRecord,
} from '../../log/index.js';
import { Expiry } from '../../time/index.js';
import { HealthState, LogListeners, newEpoch, NonceSource } from '../index.js';
import { bytesInMemory, NO_APP, Queue } from '../../log/index.js';
import { MemoryClaims } from './claims.js';
import { EndedLogs } from './ended-logs.js';

/** The limits of `memory()`. The first limit that is reached counts. */
export interface MemoryLogOptions {
  /**
   * The most events.
   * @defaultValue 100_000
   */
  maxEvents?: number;
  /**
   * The most bytes of topics, types and data in memory, with 100 bytes more for each event. A text with a character
   * beyond Latin-1 takes two bytes a character.
   * @defaultValue 64 MiB (67_108_864)
   */
  maxBytes?: number;
  /**
   * The highest age of an event, in milliseconds.
   * @defaultValue no limit
   */
  maxAgeMs?: number;
}

/**
 * A log in this process's memory, for apps with one process. After a restart it is another log with another epoch:
 * returning clients get a `reset`.
 *
 * @throws SseError `options-invalid`
 */
export function memory(options: MemoryLogOptions = {}): EventLogFactory {
  checks.refuseUnknown(options, FIELDS);
  const limits = {
    maxEvents: checks.atLeast('maxEvents', options.maxEvents, 100_000),
    maxBytes: checks.atLeast('maxBytes', options.maxBytes, 67_108_864),
    maxAgeMs: checks.atLeast('maxAgeMs', options.maxAgeMs, Infinity),
  };
  return (context = NO_APP) => new MemoryEventLogStore(limits, context);
}

type Limits = Required<MemoryLogOptions>;

const FIELDS = ['maxEvents', 'maxBytes', 'maxAgeMs'];
const checks = new OptionChecks('memory()');

/** A named log, as long as it is in use. */
interface OpenLog {
  readonly log: MemoryEventLog;
  readonly expiry: Expiry;
}

class MemoryEventLogStore implements EventLogStore {
  readonly isShared = false;
  readonly health = new HealthState('ready');
  readonly log: MemoryEventLog;
  readonly #named = new Map<string, OpenLog>();
  /** The leases that are held. */
  readonly #leases = new Map<string, MemoryLease>();
  /** The named logs whose lease is over. */
  readonly #ended: EndedLogs;
  readonly #onEndedEarly: EngineContext['onEndedEarly'];
  readonly #claims = new MemoryClaims();
  readonly #nonces = new NonceSource();
  #lastToken = 0;
  #isClosed = false;

  constructor(limits: Limits, { endedBytes = Infinity, endedLogs = Infinity, onEndedEarly }: EngineContext) {
    this.#ended = new EndedLogs({ bytes: endedBytes, count: endedLogs });
    this.#onEndedEarly = onEndedEarly;
    this.log = new MemoryEventLog(limits, this.#nonces);
  }

  async open(
    name: string,
    { maxEvents, ttlMs, lease }: { maxEvents: number; ttlMs: number; lease?: Lease },
  ): Promise<NamedLog> {
    this.#refuseIfClosed();
    if (lease) {
      return this.#replace(name, maxEvents, ttlMs, lease);
    }
    const { log, expiry } = this.#named.get(name) ?? this.#begin(name, maxEvents, ttlMs);
    expiry.putOff(ttlMs);
    return log;
  }

  async find(
    name: string,
    { from, limit }: { from: number; limit: number },
  ): Promise<{ log: NamedLog; page: LogPage } | undefined> {
    this.#refuseIfClosed();
    const log = this.#named.get(name)?.log;
    return log && { log, page: await log.page(from, limit) };
  }

  async lease(name: string, { ttlMs }: { ttlMs: number }): Promise<Lease | undefined> {
    this.#refuseIfClosed();
    if (this.#leases.has(name)) {
      return undefined;
    }
    this.#lastToken += 1;
    const lease = new MemoryLease(this.#lastToken, ttlMs, () => this.#onLeaseEnded(name));
    this.#leases.set(name, lease);
    this.#ended.delete(name);
    this.#named.get(name)?.log.fence(this.#lastToken);
    return lease;
  }

  async claim(name: string, { ttlMs }: { ttlMs: number }): Promise<boolean> {
    this.#refuseIfClosed();
    return this.#claims.take(name, ttlMs);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const lease of this.#leases.values()) {
      lease.end();
    }
    for (const { log, expiry } of this.#named.values()) {
      expiry.cancel();
      log.close();
    }
    this.#named.clear();
    this.#ended.clear();
    this.log.close();
  }

  #replace(name: string, maxEvents: number, ttlMs: number, lease: Lease): NamedLog {
    if (lease.token < this.#lowestTokenOf(name)) {
      throw new SseError('lease-lost', 'The lease is over: the log is as it was.', { isOutcomeKnown: true });
    }
    const old = this.#named.get(name);
    const { log } = this.#begin(name, maxEvents, ttlMs);
    old?.expiry.cancel();
    old?.log.expire(log.epoch);
    return log;
  }

  #begin(name: string, maxEvents: number, ttlMs: number): OpenLog {
    const expiry = new Expiry(ttlMs, () => this.#drop(name, log));
    // Not the limits of the app's log: a named log has limits of its own.
    const limits = { maxEvents, maxBytes: Infinity, maxAgeMs: Infinity };
    const log = new MemoryEventLog(limits, this.#nonces, () => expiry.putOff());
    log.fence(this.#lowestTokenOf(name));
    const named = { log, expiry };
    this.#named.set(name, named);
    return named;
  }

  #onLeaseEnded(name: string): void {
    this.#leases.delete(name);
    const named = this.#named.get(name);
    if (named && !this.#isClosed) {
      this.#ended.add(name, named.log.bytes);
      this.#dropExcess();
    }
  }

  /** Ends logs early that are kept for clients that come back, as many as do not fit. */
  #dropExcess(): void {
    for (let excess = this.#ended.excess; excess; excess = this.#ended.excess) {
      const named = this.#named.get(excess.oldest);
      named?.expiry.cancel();
      this.#drop(excess.oldest, named?.log);
      this.#onEndedEarly?.(excess.limit);
    }
  }

  #drop(name: string, log: MemoryEventLog | undefined): void {
    this.#named.delete(name);
    this.#ended.delete(name);
    log?.expire(newEpoch());
  }

  /** If the lease is free, no earlier one is valid: the next token is higher than all of them. */
  #lowestTokenOf(name: string): number {
    return this.#leases.get(name)?.token ?? this.#lastToken + 1;
  }

  #refuseIfClosed(): void {
    if (this.#isClosed) {
      throw new SseError('closed', 'The log is closed: the app is shutting down.');
    }
  }
}

/** Records in memory. Listeners are called once a turn, with all records of the turn. */
class MemoryEventLog implements NamedLog {
  readonly epoch = newEpoch();
  readonly #limits: Limits;
  readonly #nonces: NonceSource;
  readonly #onAppend: () => void;
  readonly #listeners = new LogListeners();
  readonly #records = new Queue<LogRecord>();
  #bytes = 0;
  #last = 0;
  /** Kept apart from the records: the head stays when its record is dropped for its age. */
  #headNonce = NO_NONCE;
  #fence = 0;
  /** Records that were appended in this turn, before the listeners receive them. */
  #undelivered: LogRecord[] = [];
  #undeliveredBytes = 0;
  /** The newest notice of each key. */
  readonly #notices = new Map<string, NewRecord>();
  readonly #noticeListeners = new Set<(notice: NewRecord) => void>();
  /** Why the log is closed; undefined while it is open. */
  #ended: string | undefined;

  constructor(limits: Limits, nonces: NonceSource, onAppend: () => void = () => undefined) {
    this.#limits = limits;
    this.#nonces = nonces;
    this.#onAppend = onAppend;
  }

  /** Bytes of its records, as `maxBytes` counts them. */
  get bytes(): number {
    return this.#bytes;
  }

  async append(records: readonly NewRecord[], { lease }: { lease?: Lease } = {}): Promise<Appended> {
    this.#refuseIfEnded();
    if (lease && (lease.token < this.#fence || lease.signal.aborted)) {
      throw new SseError('lease-lost', 'The lease is over: nothing was appended.', { isOutcomeKnown: true });
    }
    const time = Date.now();
    const appended = records.map((record) => this.#add(record, time));
    this.#trim(time);
    this.#onAppend();
    if (this.#undelivered.length >= UNDELIVERED_EVENTS || this.#undeliveredBytes >= UNDELIVERED_BYTES) {
      // An app that awaits publish() in a loop would otherwise leave no turn in which listeners receive the records.
      await new Promise((resolve) => {
        setImmediate(resolve);
      });
    }
    return { epoch: this.epoch, records: appended };
  }

  async page(from: number, limit: number): Promise<LogPage> {
    this.#refuseIfEnded();
    this.#trim(Date.now());
    const first = this.#last - this.#records.length + 1;
    return {
      epoch: this.epoch,
      records: this.#records.slice(from - first, limit),
      first,
      head: this.#last,
    };
  }

  async head(): Promise<LogHead> {
    this.#refuseIfEnded();
    return this.#head;
  }

  async follow(
    listener: LogListener,
    { recent = 0 }: { recent?: number } = {},
  ): Promise<{ head: LogHead; recent: readonly LogRecord[]; stop: () => void }> {
    this.#refuseIfEnded();
    this.#trim(Date.now());
    const listening = this.#listeners.add(listener);
    // Other listeners still have to receive the records of this turn. This one gets them as recent records.
    listening.begin(this.#last);
    return {
      head: this.#head,
      recent: this.#records.slice(this.#records.length - recent, recent),
      stop: () => listening.stop(),
    };
  }

  async notify(key: string, notice: NewRecord): Promise<void> {
    this.#refuseIfEnded();
    this.#notices.delete(key);
    this.#notices.set(key, notice);
    if (this.#notices.size > MOST_NOTICES) {
      const [oldest] = this.#notices.keys();
      this.#notices.delete(oldest!);
    }
    for (const listener of Array.from(this.#noticeListeners)) {
      setImmediate(() => {
        if (this.#noticeListeners.has(listener)) {
          listener(notice);
        }
      });
    }
  }

  async onNotice(listener: (notice: NewRecord) => void): Promise<() => void> {
    this.#refuseIfEnded();
    // In a wrapper, so that the same function can be added twice.
    const own = (notice: NewRecord) => listener(notice);
    this.#noticeListeners.add(own);
    for (const notice of this.#notices.values()) {
      own(notice);
    }
    return () => void this.#noticeListeners.delete(own);
  }

  async lastNotice(key: string): Promise<NewRecord | undefined> {
    this.#refuseIfEnded();
    return this.#notices.get(key);
  }

  /** Refuses appends with an older token from now on. */
  fence(token: number): void {
    this.#fence = token;
  }

  /**
   * Ends the log and resets its listeners.
   *
   * @param epoch - the epoch of the next log
   */
  expire(epoch: string): void {
    this.#ended = 'it has expired';
    // Listeners receive nothing after the reset.
    this.#undelivered = [];
    this.#noticeListeners.clear();
    this.#listeners.reset({ epoch, sequence: 0, nonce: NO_NONCE }, 'epoch');
  }

  close(): void {
    this.#ended = 'the app is shutting down';
    this.#noticeListeners.clear();
    this.#listeners.clear();
  }

  get #head(): LogHead {
    return { epoch: this.epoch, sequence: this.#last, nonce: this.#headNonce };
  }

  #refuseIfEnded(): void {
    if (this.#ended) {
      throw new SseError('closed', `The log is closed: ${this.#ended}.`, { isOutcomeKnown: true });
    }
  }

  #add({ topic, type, data, isJson }: NewRecord, time: number): LogRecord {
    const [sequence, nonce] = [this.#last + 1, this.#nonces.next()];
    // Field by field: a spread would cost more than the rest of an append.
    const added: LogRecord = { topic, type, data, isJson, sequence, nonce, time };
    this.#last = added.sequence;
    this.#headNonce = added.nonce;
    this.#records.push(added);
    this.#bytes += sizeOf(added);
    if (this.#undelivered.length === 0) {
      // Once a turn, so that the frames of a turn leave in one write for each client.
      setImmediate(() => this.#notify());
    }
    this.#undelivered.push(added);
    this.#undeliveredBytes += sizeOf(added);
    return added;
  }

  #notify(): void {
    const records = this.#undelivered;
    this.#undelivered = [];
    this.#undeliveredBytes = 0;
    // No backpressure from listeners: the publishers are in this process, and are slowed down in append().
    void this.#listeners.notify(records);
  }

  #trim(now: number): void {
    const { maxEvents, maxBytes, maxAgeMs } = this.#limits;
    for (let oldest = this.#records.at(0); oldest; oldest = this.#records.at(0)) {
      const isExcess =
        this.#records.length > maxEvents || this.#bytes > maxBytes || now - oldest.time > maxAgeMs;
      if (!isExcess) {
        break;
      }
      this.#bytes -= sizeOf(oldest);
      this.#records.shift();
    }
  }
}

const RECORD_BYTES = 100;
// A log has a notice for each instance with clients, and one that stops its run.
const MOST_NOTICES = 10_000;
// The most records of one turn. Then an append waits for the next turn.
const UNDELIVERED_EVENTS = 1_000;
const UNDELIVERED_BYTES = 4_194_304;

function sizeOf({ topic, type, data }: LogRecord): number {
  return RECORD_BYTES + topic.length + (type ? bytesInMemory(type) : 0) + bytesInMemory(data);
}

class MemoryLease implements Lease {
  readonly #ended = new AbortController();
  readonly #expiry: Expiry;
  readonly #onEnd: () => void;

  constructor(
    readonly token: number,
    ttlMs: number,
    onEnd: () => void,
  ) {
    this.#onEnd = onEnd;
    this.#expiry = new Expiry(ttlMs, () => this.end());
  }

  get signal(): AbortSignal {
    return this.#ended.signal;
  }

  async renew(): Promise<boolean> {
    if (this.signal.aborted) {
      return false;
    }
    this.#expiry.putOff();
    return true;
  }

  async release(): Promise<void> {
    this.end();
  }

  end(): void {
    if (!this.signal.aborted) {
      this.#expiry.cancel();
      this.#onEnd();
      this.#ended.abort();
    }
  }
}
