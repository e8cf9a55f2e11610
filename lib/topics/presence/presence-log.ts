import { randomBytes } from 'node:crypto';
import { reasonOf } from '../../errors/index.js';
import type { RepeatedReport } from '../../errors/index.js';
import type { EventLogStore, LogListener, LogRecord, NamedLog, NewRecord } from '../../log/index.js';
import { within } from '../../time/index.js';
import type { Deadline, DeadlineWheel } from '../../time/index.js';
import { InstanceLeases } from './instance-leases.js';
import type { KnownMembers } from './known-members.js';
import type { OwnMembers } from './own-members.js';
import { controlRecord, joinRecords, leaveRecords, readRecord } from './presence-records.js';
import type { PresenceRecord } from './presence-records.js';
import type { PresenceSettings } from './presence.settings.js';

/** Presence, as its log sees it. */
export interface PresenceLogHost {
  readonly settings: PresenceSettings;
  readonly wheel: DeadlineWheel;
  readonly reports: RepeatedReport;
  readonly own: OwnMembers;
  readonly known: KnownMembers;
  /** Called when {@link PresenceLog.isCurrent} may have changed. */
  onState(): void;
}

const NAME = 'presence';
const TTL_MS = 3_600_000;
// At 32 kB a record, and mostly a hundred bytes.
const MAX_EVENTS = 8_192;
// No other process reads what an engine in this process holds.
const MAX_EVENTS_ALONE = 100;
const BATCH_MS = 100;
const RETRY_MS = 500;
// About 1 MB.
const RECORDS_PER_APPEND = 32;
const GONE_MS = 1_000;
// An instance follows again within 750 ms, and writes its list.
const SETTLE_MS = 2_000;

/**
 * The log of presence, which all instances share: what each of them has, and that it is there. An instance that starts
 * later rebuilds the members of all from it. So that trimming takes nothing that is needed, each instance writes a list
 * of all its members again before its last one is trimmed.
 */
export class PresenceLog implements LogListener {
  /** The name of this process in the log. */
  readonly id = randomBytes(8).toString('base64url');
  readonly #store: EventLogStore;
  readonly #host: PresenceLogHost;
  readonly #leases: InstanceLeases;
  /** Instances whose members this process is to drop. */
  #expired = new Set<string>();
  #log: NamedLog | undefined;
  #stop: (() => void) | undefined;
  #following: Promise<void> | undefined;
  #hasLoaded = false;
  #head = 0;
  /** The sequence of the last whole list that this process has written. */
  #listedAt = 0;
  #isListDue = false;
  /** The outcome of an append is unknown: it may still come, and undo a later one. */
  #isDoubtful = false;
  #isBeatDue = false;
  #writing: Promise<void> | undefined;
  #notBefore = 0;
  #nextWrite: Deadline | undefined;
  #nextBeat: Deadline | undefined;
  #nextFollow: Deadline | undefined;
  /** Pending while members are missing that instances will list again. */
  #settling: Deadline | undefined;
  #isLeaving = false;
  #isClosed = false;

  constructor(store: EventLogStore, host: PresenceLogHost) {
    this.#store = store;
    this.#host = host;
    this.#leases = new InstanceLeases(host.settings, host.wheel, () => {
      this.#isBeatDue = true;
      this.write();
    });
  }

  get hasLoaded(): boolean {
    return this.#hasLoaded;
  }

  /**
   * Whether instances list members again that the log has lost, or that were written off by mistake. Until then it is
   * not told who is missing.
   */
  get isSettling(): boolean {
    return this.#settling !== undefined;
  }

  /** Whether this process knows what the others write. Without it, it knows what it knew before. */
  get isCurrent(): boolean {
    const isFollowed = this.#stop !== undefined && this.#store.health.state === 'ready';
    return isFollowed && this.#leases.isInContact && !this.isSettling;
  }

  /**
   * Follows the log, if this process does not yet. If it fails, it is tried again and again.
   *
   * @throws the error of the log
   */
  async start(): Promise<void> {
    if (this.#hasLoaded || this.#isClosed) {
      return;
    }
    await this.#follow();
  }

  /** Writes what the log does not have, soon. */
  write(): void {
    if (this.#log && !this.#nextWrite && !this.#writing && !this.#isLeaving) {
      const delayMs = Math.max(0, this.#notBefore - this.#host.wheel.now());
      this.#nextWrite = this.#host.wheel.schedule(delayMs, () => {
        this.#nextWrite = undefined;
        this.#writing = this.#write().finally(() => {
          this.#writing = undefined;
          if (this.#hasToWrite) {
            this.write();
          }
        });
      });
    }
  }

  onRecords(records: readonly LogRecord[]): void {
    for (const record of records) {
      this.#head = record.sequence;
      const read = readRecord(record, this.#host.settings.maxDataBytes);
      if (read) {
        this.#apply(read);
      }
    }
  }

  onReset(): void {
    this.#unfollow();
    this.#host.onState();
    this.#followLater();
  }

  /** Tells the others that this process closes. Its members stay for the grace: they may come back to another one. */
  async leave(): Promise<void> {
    this.#isLeaving = true;
    this.#cancel();
    const log = this.#log;
    if (!log || !this.#host.known.hasInstance(this.id)) {
      return;
    }
    const telling = async () => {
      await this.#writing;
      await log.append([controlRecord('gone', this.id)]);
    };
    await within(
      telling().catch((error: unknown) => this.#reportUnwritten(error)),
      GONE_MS,
    );
  }

  close(): void {
    this.#isClosed = true;
    this.#isLeaving = true;
    this.#cancel();
    this.#leases.close();
    this.#host.wheel.cancel(this.#settling);
    this.#unfollow();
  }

  #follow(): Promise<void> {
    this.#following ??= this.#doFollow()
      .catch((error: unknown) => {
        this.#host.reports.debug('follow', () => `Presence cannot be followed yet: ${reasonOf(error)}`);
        this.#followLater();
        throw error;
      })
      .finally(() => (this.#following = undefined));
    return this.#following;
  }

  async #doFollow(): Promise<void> {
    this.#host.wheel.cancel(this.#nextFollow);
    const maxEvents = this.#store.isShared ? MAX_EVENTS : MAX_EVENTS_ALONE;
    const log = await this.#store.open(NAME, { maxEvents, ttlMs: TTL_MS });
    const { head, recent, stop } = await log.follow(this, { recent: maxEvents });
    if (this.#isClosed) {
      stop();
      return;
    }
    if (this.#hasLoaded) {
      this.#settle();
    }
    this.onRecords(recent);
    this.#log = log;
    this.#stop = stop;
    this.#head = head.sequence;
    this.#leases.restart();
    this.#expired.clear();
    this.#hasLoaded = true;
    this.#isListDue = true;
    this.#beat();
    this.#host.onState();
  }

  #followLater(): void {
    const { wheel } = this.#host;
    wheel.cancel(this.#nextFollow);
    if (!this.#isClosed) {
      // A failure is reported by #follow(), and tried again.
      const again = () => void this.#follow().catch(() => undefined);
      this.#nextFollow = wheel.schedule(RETRY_MS * (0.5 + Math.random()), again);
    }
  }

  #unfollow(): void {
    this.#stop?.();
    this.#stop = undefined;
    this.#log = undefined;
  }

  #apply(record: PresenceRecord): void {
    const { known } = this.#host;
    if (record.kind === 'drop' && record.of === this.id) {
      this.#settle();
    }
    known.apply(record);
    if (record.kind === 'drop') {
      this.#onDropped(record.of);
    } else if (record.by === this.id) {
      if (record.kind === 'alive') {
        this.#expired = new Set(this.#leases.onContact(record.at));
        if (this.#expired.size > 0) {
          this.write();
        }
        this.#host.onState();
      }
    } else if (record.kind === 'gone') {
      this.#leases.part(record.by);
    } else if (known.hasInstance(record.by)) {
      this.#expired.delete(record.by);
      this.#leases.renew(record.by);
    }
  }

  #onDropped(by: string): void {
    this.#expired.delete(by);
    if (by === this.id) {
      // This process stood still for so long that others took it for gone.
      this.#isListDue = true;
      this.write();
    } else {
      this.#leases.delete(by);
    }
  }

  /** Tells no changes for a moment, from before the first that is not to be told. */
  #settle(): void {
    const { wheel } = this.#host;
    wheel.cancel(this.#settling);
    this.#settling = wheel.schedule(SETTLE_MS, () => {
      this.#settling = undefined;
      this.#host.onState();
    });
    this.#host.onState();
  }

  /** Tells the others that this process is there, every quarter of the lease. */
  #beat(): void {
    const { wheel, own, settings } = this.#host;
    wheel.cancel(this.#nextBeat);
    if (this.#isLeaving) {
      return;
    }
    this.#isBeatDue = true;
    const isTrimmedSoon = this.#store.isShared && this.#head - this.#listedAt > MAX_EVENTS / 2;
    if (this.#isDoubtful || (isTrimmedSoon && own.size > 0)) {
      this.#isDoubtful = false;
      this.#isListDue = true;
    }
    this.write();
    this.#host.onState();
    this.#nextBeat = wheel.schedule(settings.leaseMs / 4, () => this.#beat());
  }

  get #hasToWrite(): boolean {
    return this.#isBeatDue || this.#isListDue || this.#expired.size > 0 || this.#host.own.hasChanged;
  }

  async #write(): Promise<void> {
    const log = this.#log;
    const { wheel } = this.#host;
    this.#notBefore = wheel.now() + BATCH_MS;
    if (!log || this.#isLeaving) {
      return;
    }
    const isList = this.#isListDue;
    const dropped = [...this.#expired];
    const records = this.#takeRecords();
    try {
      let listedAt: number | undefined;
      for (let at = 0; at < records.length; at += RECORDS_PER_APPEND) {
        const appended = await log.append(records.slice(at, at + RECORDS_PER_APPEND));
        listedAt ??= appended.records[0]!.sequence;
      }
      // Not when the record has come back: until then it would be written with each batch.
      dropped.forEach((by) => this.#expired.delete(by));
      if (isList && listedAt !== undefined && log === this.#log) {
        this.#listedAt = listedAt;
      }
    } catch (error) {
      this.#reportUnwritten(error);
      this.#leases.onAway();
      this.#expired.clear();
      // With a list it does not matter which records the log has.
      this.#isListDue = true;
      this.#isDoubtful = true;
      this.#notBefore = wheel.now() + RETRY_MS * (0.5 + Math.random());
    }
  }

  #takeRecords(): NewRecord[] {
    const { own, wheel } = this.#host;
    const { id } = this;
    const drops = Array.from(this.#expired, (by) => controlRecord('drop', id, by));
    const beat = this.#isBeatDue ? [controlRecord('alive', id, wheel.now())] : [];
    const isList = this.#isListDue;
    this.#isBeatDue = false;
    this.#isListDue = false;
    if (!isList) {
      const { joined, left } = own.takeChanged();
      return [...joinRecords(id, joined), ...leaveRecords(id, left), ...drops, ...beat];
    }
    const all = own.takeAll();
    if (all.length === 0 && !this.#host.known.hasInstance(id)) {
      return [...drops, ...beat];
    }
    return [controlRecord('begin', id), ...joinRecords(id, all), controlRecord('end', id), ...drops, ...beat];
  }

  #reportUnwritten(error: unknown): void {
    this.#host.reports.debug('write', () => `Presence cannot be written yet: ${reasonOf(error)}`);
  }

  #cancel(): void {
    const { wheel } = this.#host;
    [this.#nextWrite, this.#nextBeat, this.#nextFollow].forEach((deadline) => wheel.cancel(deadline));
    this.#nextWrite = undefined;
  }
}
