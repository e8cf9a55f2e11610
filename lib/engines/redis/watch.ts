import type { HealthState } from '../index.js';
import type { LogHead } from '../../log/index.js';
import { failureOf, RedisFailure } from './failure.js';
import type { LogKeys } from './keys.js';
import type { RedisLink } from './link.js';
import type { FollowedLog, ReaderListener } from './reader.js';

const CHECK_MS = 1_000;
/** How long a refusal counts without a later publish. */
const REFUSAL_MS = 30_000;
/** The number of checks in which a reader may stand still behind the log. */
const PATIENCE = 2;

/** A check in which the reader was behind. */
interface Suspicion {
  readonly wanted: { epoch: string; sequence: number };
  /** The reader's place at that check. */
  readonly at: LogHead;
  readonly checks: number;
}

/**
 * Watches the two connections. Their state makes the health of the log, and once a second they are compared. A reader
 * that blocks on a former master receives nothing, although no command fails: it is stalled, and gets another
 * connection.
 */
export class RedisWatch implements ReaderListener {
  readonly #commands: RedisLink;
  readonly #health: HealthState;
  readonly #meta: string;
  readonly #followed: () => FollowedLog | undefined;
  readonly #isHeldUp: () => boolean;
  readonly #reconnect: () => void;
  #publishing: RedisFailure | undefined;
  #failedAt = 0;
  #reading: RedisFailure | undefined;
  #isReading = false;
  #suspicion: Suspicion | undefined;
  #stalled: string | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(options: {
    commands: RedisLink;
    health: HealthState;
    keys: LogKeys;
    /** The app's log, as the reader sees it. */
    followed: () => FollowedLog | undefined;
    /** Whether the reader waits for this process. */
    isHeldUp: () => boolean;
    /** Gives the reader another connection. */
    reconnect: () => void;
  }) {
    this.#commands = options.commands;
    this.#health = options.health;
    this.#meta = options.keys.meta;
    this.#followed = options.followed;
    this.#isHeldUp = options.isHeldUp;
    this.#reconnect = options.reconnect;
  }

  /** Starts the checks. They run until it is closed. */
  start(): void {
    if (!this.#isClosed) {
      this.#timer ??= this.#schedule();
    }
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }

  /** Called after each try to append. */
  onOutcome(failure: RedisFailure | undefined): void {
    this.#publishing = failure;
    if (failure) {
      this.#failedAt = performance.now();
    }
    this.#evaluate();
  }

  onReading(): void {
    this.#isReading = true;
    this.#reading = undefined;
    this.#evaluate();
  }

  onFailure(failure: RedisFailure): void {
    this.#isReading = false;
    this.#reading = failure;
    this.#evaluate();
  }

  #schedule(): NodeJS.Timeout {
    return setTimeout(() => void this.#check(), CHECK_MS);
  }

  async #check(): Promise<void> {
    const before = this.#followed()?.head;
    try {
      const reply = await this.#commands.send(['HMGET', this.#meta, 'epoch', 'sequence']);
      // A refusal, as for lack of memory, counts until no publish was tried for a while.
      const isRefusing =
        this.#publishing?.isTransient === false && performance.now() - this.#failedAt < REFUSAL_MS;
      this.#publishing = isRefusing ? this.#publishing : undefined;
      const [epoch, sequence] = reply as [string | null, string | null];
      const now = this.#followed()?.head;
      if (before && now) {
        this.#compare({ epoch: epoch ?? '', sequence: Number(sequence) }, before, now);
      }
    } catch (error) {
      this.#publishing = error instanceof RedisFailure ? error : failureOf(error);
    }
    if (!this.#isClosed) {
      this.#evaluate();
      this.#timer = this.#schedule();
    }
  }

  #compare(seen: { epoch: string; sequence: number }, before: LogHead, now: LogHead): void {
    const isBehind = seen.epoch !== now.epoch || seen.sequence > now.sequence;
    // The server that takes commands lacks events that the reader has read before the request.
    const isAhead = seen.epoch === before.epoch && seen.sequence < before.sequence;
    const last = this.#suspicion;
    if (!isBehind && !isAhead) {
      this.#suspicion = undefined;
      this.#stalled = undefined;
      return;
    }
    const hasCaughtUp =
      last && last.wanted.epoch === now.epoch && now.sequence >= last.wanted.sequence && !isAhead;
    if (!last || hasCaughtUp) {
      // A reader with a new connection that has not read since is still stalled.
      this.#stalled = hasCaughtUp ? undefined : this.#stalled;
      this.#suspicion = { wanted: seen, at: now, checks: 0 };
      return;
    }
    const suspicion = { ...last, checks: last.checks + 1 };
    this.#suspicion = suspicion;
    if (suspicion.checks >= PATIENCE) {
      this.#onStalled(seen, now, suspicion);
    }
  }

  #onStalled(seen: { epoch: string; sequence: number }, now: LogHead, suspicion: Suspicion): void {
    this.#stalled =
      seen.epoch === now.epoch
        ? `the log is at ${seen.sequence}, and what was read at ${now.sequence}`
        : 'the log that is read is not the one that takes commands';
    const goesOn = now.sequence !== suspicion.at.sequence && seen.sequence > now.sequence;
    if (this.#isHeldUp() || goesOn) {
      // It reads and does not keep up: another connection would not help. It may stand still again from here on.
      this.#suspicion = { ...suspicion, at: now, checks: 0 };
      return;
    }
    this.#suspicion = undefined;
    this.#reconnect();
    this.#commands.drop();
  }

  #evaluate(): void {
    if (this.#isClosed) {
      return;
    }
    const publishing = this.#publishing && `publishing fails (${this.#publishing.message})`;
    const reading = this.#reading
      ? `reading fails (${this.#reading.message})`
      : this.#stalled && `reading lags: ${this.#stalled}`;
    const reasons = [publishing, reading].filter((reason) => reason !== undefined).join('; ');
    if (publishing && !this.#isReading) {
      this.#health.set('down', `Redis: ${reasons}`);
    } else if (reasons !== '') {
      this.#health.set('degraded', `Redis: ${reasons}`);
    } else if (this.#isReading) {
      this.#health.set('ready');
    }
  }
}
