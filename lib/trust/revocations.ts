import { MAX_TIMER_MS, reasonOf, RepeatedReport, SseError } from '../errors/index.js';
import type { Reporter } from '../errors/index.js';
import type { EventLogStore, LogListener, LogRecord, NamedLog, NewRecord } from '../log/index.js';
import { now, pause } from '../time/index.js';
import type { Deadline, DeadlineWheel } from '../time/index.js';

/** The longest time for which a key can be revoked, in milliseconds: 24 days. The log is kept that long. */
const MAX_REVOKED_MS = MAX_TIMER_MS;

const NAME = 'revocations';
// 100 bytes each in memory, about, and as many in the log.
const MAX_KEYS = 100_000;
const RETRY_MS = 500;
/** How long the start of the app waits for the log. */
const START_MS = 10_000;
// Records that are appended together when an engine has lost them.
const BATCH = 500;

/** A revoked key, as this instance knows it. */
interface Revocation {
  /** When it ends, in milliseconds since 1970. */
  readonly until: number;
  /** Its place in the log; undefined while the log does not have it. */
  readonly sequence: number | undefined;
}

/** The instance, as revocations see it. */
export interface RevocationsHost {
  /** Whether connections have keys. If not, there is nothing to be revoked, and the log is not asked. */
  readonly isEnabled: boolean;
  readonly wheel: DeadlineWheel;
  readonly reporter: Reporter;
  /** Ends what belongs to the keys. */
  onRevoked(keys: ReadonlySet<string>): void;
}

/**
 * The keys that are kept away, in a named log that all instances share, and in the memory of each of them. What an
 * engine loses, the instances that hold it write back.
 */
export class Revocations implements LogListener {
  /** Keys that this instance was told to revoke by its own app. */
  revokedHere = 0;
  /** Keys that were one too many. */
  refusedHere = 0;
  readonly #maxKeys: number;
  readonly #store: EventLogStore;
  readonly #host: RevocationsHost;
  readonly #reports: RepeatedReport;
  /** By key, those written longest ago first. */
  readonly #revoked = new Map<string, Revocation>();
  #log: NamedLog | undefined;
  #head = 0;
  /** The number of keys at which those that have expired are forgotten. */
  #sweepAt = 1_000;
  #stop: (() => void) | undefined;
  #following: Promise<void> | undefined;
  #later: Deadline | undefined;
  #isClosed = false;

  constructor(store: EventLogStore, host: RevocationsHost, maxKeys = MAX_KEYS) {
    this.#maxKeys = maxKeys;
    this.#store = store;
    this.#host = host;
    this.#reports = new RepeatedReport(host.reporter);
  }

  /**
   * Loads what is revoked. A log that does not answer is asked again for 10 s.
   *
   * @throws the error of the log
   */
  async start(): Promise<void> {
    const deadline = now() + START_MS;
    while (this.#host.isEnabled && !this.#stop && !this.#isClosed) {
      try {
        await this.#follow();
      } catch (error) {
        const isAway = error instanceof SseError && error.code === 'log-unavailable';
        if (!isAway || now() + RETRY_MS >= deadline) {
          throw error;
        }
        await pause(RETRY_MS);
      }
    }
  }

  /** Whether this instance knows what the others revoke. Without it, it knows what it knew before. */
  get isCurrent(): boolean {
    return this.#stop !== undefined && this.#store.health.state === 'ready';
  }

  /** The number of keys that are held, some of which may have expired. */
  get size(): number {
    return this.#revoked.size;
  }

  /** Twice as many records as keys: the older half of the log can be written again before it is trimmed. */
  get #maxEvents(): number {
    return 2 * this.#maxKeys;
  }

  isRevoked(keys: readonly string[]): boolean {
    return keys.some((key) => (this.#revoked.get(key)?.until ?? 0) > Date.now());
  }

  /**
   * Revokes a key: here at once, and on every instance once the log has it.
   *
   * @throws SseError `publish-failed`, `log-unavailable`, `closed`: it is enforced here, and written until the log has
   * it; `revocations-full` and `misuse`: nothing is revoked
   */
  async revoke(key: string, forMs: number): Promise<void> {
    if (!this.#host.isEnabled) {
      throw new SseError(
        'misuse',
        'revoke() needs the option "keyOf" or "tickets" of SseModule.forRoot(): without either, no connection has a key.',
      );
    }
    const until = Date.now() + forMs;
    if (!this.#revoked.has(key) && this.#revoked.size >= this.#maxKeys) {
      this.#forgetExpired();
      if (this.#revoked.size >= this.#maxKeys) {
        this.refusedHere += 1;
        throw new SseError(
          'revocations-full',
          `${this.#maxKeys} keys are revoked already, and no more can be.`,
        );
      }
    }
    this.revokedHere += 1;
    this.#take(key, { until, sequence: undefined });
    this.#host.onRevoked(new Set([key]));
    try {
      await this.#write([key]);
    } catch (error) {
      this.#repairLater();
      throw error;
    }
  }

  onRecords(records: readonly LogRecord[]): void {
    const now = Date.now();
    const fresh = new Set<string>();
    for (const { data, sequence } of records) {
      this.#head = sequence;
      const [key, until] = readRecord(data) ?? [];
      if (key !== undefined && until !== undefined && until > now) {
        this.#take(key, { until, sequence });
        fresh.add(key);
      }
    }
    if (fresh.size > 0) {
      this.#host.onRevoked(fresh);
    }
    if (this.#isOldestAboutToGo()) {
      this.#repairLater();
    }
  }

  onReset(): void {
    this.#unfollow();
    void this.#refollow();
  }

  close(): void {
    this.#isClosed = true;
    this.#host.wheel.cancel(this.#later);
    this.#unfollow();
  }

  /** Follows the log from now on, takes what it holds, and writes back what it lacks. */
  #follow(): Promise<void> {
    this.#following ??= (async () => {
      const log = await this.#store.open(NAME, { maxEvents: this.#maxEvents, ttlMs: MAX_REVOKED_MS });
      const { head, recent, stop } = await log.follow(this, { recent: this.#maxEvents });
      if (this.#isClosed) {
        stop();
        return;
      }
      this.#log = log;
      this.#stop = stop;
      this.#head = head.sequence;
      for (const [key, { until }] of this.#revoked) {
        this.#revoked.set(key, { until, sequence: undefined });
      }
      this.onRecords(recent);
      this.#head = head.sequence;
      this.#repairLater();
    })().finally(() => (this.#following = undefined));
    return this.#following;
  }

  async #refollow(): Promise<void> {
    try {
      await this.#follow();
    } catch (error) {
      this.#reports.debug('follow', () => `Revocations cannot be followed yet: ${reasonOf(error)}`);
      this.#schedule(() => void this.#refollow());
    }
  }

  #unfollow(): void {
    this.#stop?.();
    this.#stop = undefined;
    this.#log = undefined;
  }

  /** Keeps the later end of two. The map is in the order of the log. */
  #take(key: string, { until, sequence }: Revocation): void {
    const known = this.#revoked.get(key);
    if (known && known.until > until) {
      return;
    }
    if (!known && this.#revoked.size >= this.#sweepAt) {
      this.#forgetExpired();
      this.#sweepAt = Math.max(1_000, 2 * this.#revoked.size);
    }
    this.#revoked.delete(key);
    this.#revoked.set(key, { until, sequence });
  }

  /** Writes what the log lacks, or is about to drop. At random, so that one of several instances does it. */
  #repairLater(): void {
    if (this.#stale().length > 0) {
      this.#schedule(() => void this.#repair());
    }
  }

  async #repair(): Promise<void> {
    try {
      const keys = this.#stale();
      for (let at = 0; at < keys.length && !this.#isClosed; at += BATCH) {
        await this.#write(keys.slice(at, at + BATCH));
      }
    } catch (error) {
      this.#reports.debug('repair', () => `Revocations cannot be written yet: ${reasonOf(error)}`);
    }
    if (!this.#stop && !this.#following) {
      void this.#refollow();
    } else {
      this.#repairLater();
    }
  }

  #stale(): string[] {
    const now = Date.now();
    const isStale = ({ until, sequence }: Revocation) =>
      until > now && (sequence === undefined || this.#head - sequence > this.#maxKeys);
    return Array.from(this.#revoked)
      .filter(([, revocation]) => isStale(revocation))
      .map(([key]) => key);
  }

  #isOldestAboutToGo(): boolean {
    const [oldest] = this.#revoked.values();
    return oldest?.sequence !== undefined && this.#head - oldest.sequence > this.#maxKeys;
  }

  async #write(keys: readonly string[]): Promise<void> {
    if (!this.#log) {
      throw new SseError('log-unavailable', 'The log of revocations cannot be reached at the moment.');
    }
    const records = keys.flatMap((key) => {
      const revocation = this.#revoked.get(key);
      return revocation ? [recordOf(key, revocation.until)] : [];
    });
    const appended = await this.#log.append(records);
    for (const { data, sequence } of appended.records) {
      const [key, until] = readRecord(data)!;
      const known = this.#revoked.get(key);
      if (known && known.until === until && known.sequence === undefined) {
        this.#revoked.set(key, { until, sequence });
      }
    }
  }

  #forgetExpired(): void {
    const now = Date.now();
    for (const [key, { until }] of this.#revoked) {
      if (until <= now) {
        this.#revoked.delete(key);
      }
    }
  }

  #schedule(task: () => void): void {
    if (!this.#isClosed) {
      this.#host.wheel.cancel(this.#later);
      this.#later = this.#host.wheel.schedule(RETRY_MS * (0.5 + Math.random()), task);
    }
  }
}

function recordOf(key: string, until: number): NewRecord {
  return { topic: 'revoked', data: JSON.stringify([key, until]), isJson: true };
}

/** Reads a record. Another program may have written it. */
function readRecord(data: string): [key: string, until: number] | undefined {
  try {
    const [key, until] = JSON.parse(data) as [unknown, unknown];
    return typeof key === 'string' && typeof until === 'number' ? [key, until] : undefined;
  } catch {
    return undefined;
  }
}
