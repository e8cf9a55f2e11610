import type { LogHead } from '../log/index.js';
import type { HealthState } from './health.js';

/** The failure of a request, as the watch sees it. */
export interface WatchedFailure extends Error {
  readonly isTransient: boolean;
  /** Whether it is one of the connection, so that a look at the log would have failed as well. */
  readonly isOfConnection: boolean;
  /** What to do about it: a sentence that begins with a space; empty if there is nothing to say. */
  readonly hint: string;
}

/** The head of a log, as the connection for commands sees it. */
export type SeenHead = Pick<LogHead, 'epoch' | 'sequence'>;

/** The connections of an engine, as the watch sees them. */
export interface WatchedConnections<Failure extends WatchedFailure> {
  /** Reads the head of the app's log by the connection for commands. */
  look(): Promise<SeenHead>;
  failureOf(error: unknown): Failure;
  /** Drops the connection for commands. */
  dropCommands(): void;
  /** The place of the reader in the app's log; undefined if it does not follow it. */
  place(): LogHead | undefined;
  /** Whether the reader waits for this process. */
  isHeldUp(): boolean;
  /** Gives the reader another connection. */
  reconnect(): void;
}

const CHECK_MS = 1_000;
/** How long a refusal counts without a later publish. */
const REFUSAL_MS = 30_000;
/** How long a transient failure counts. A try takes 2 s at most by default: the next one fails before health flaps. */
const TRANSIENT_MS = 2_500;
/** The number of checks in which a reader may stand still behind the log. */
const PATIENCE = 2;

/** A check in which the reader was behind. */
interface Suspicion {
  readonly wanted: SeenHead;
  /** The reader's place at that check. */
  readonly at: LogHead;
  readonly checks: number;
}

/**
 * Watches the two connections of an engine: for commands, and for reading. Their state makes the health of the log, and
 * once a second they are compared. A reader that blocks on a former master receives nothing, although no command fails:
 * it is stalled, and gets another connection.
 */
export class EngineWatch<Failure extends WatchedFailure> {
  readonly #engine: string;
  readonly #connections: WatchedConnections<Failure>;
  readonly #health: HealthState;
  #publishing: Failure | undefined;
  #failedAt = 0;
  #reading: Failure | undefined;
  #isReading = false;
  #suspicion: Suspicion | undefined;
  #stalled: string | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  /** @param engine - the name for messages, as `Redis` */
  constructor(engine: string, connections: WatchedConnections<Failure>, health: HealthState) {
    this.#engine = engine;
    this.#connections = connections;
    this.#health = health;
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
  onOutcome(failure: Failure | undefined): void {
    this.#publishing = failure;
    if (failure) {
      this.#failedAt = performance.now();
    }
    this.#evaluate();
  }

  /** Called when reading works, and the reader's place is valid. */
  onReading(): void {
    this.#isReading = true;
    this.#reading = undefined;
    this.#evaluate();
  }

  onFailure(failure: Failure): void {
    this.#isReading = false;
    this.#reading = failure;
    this.#evaluate();
  }

  #schedule(): NodeJS.Timeout {
    return setTimeout(() => void this.#check(), CHECK_MS);
  }

  async #check(): Promise<void> {
    const before = this.#connections.place();
    try {
      const seen = await this.#connections.look();
      if (this.#publishing && performance.now() - this.#failedAt >= countsForMs(this.#publishing)) {
        this.#publishing = undefined;
      }
      const now = this.#connections.place();
      if (before && now) {
        this.#compare(seen, before, now);
      }
    } catch (error) {
      this.#publishing = this.#connections.failureOf(error);
    }
    if (!this.#isClosed) {
      this.#evaluate();
      this.#timer = this.#schedule();
    }
  }

  #compare(seen: SeenHead, before: LogHead, now: LogHead): void {
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

  #onStalled(seen: SeenHead, now: LogHead, suspicion: Suspicion): void {
    this.#stalled =
      seen.epoch === now.epoch
        ? `the log is at ${seen.sequence}, and what was read at ${now.sequence}`
        : 'the log that is read is not the one that takes commands';
    const goesOn = now.sequence !== suspicion.at.sequence && seen.sequence > now.sequence;
    if (this.#connections.isHeldUp() || goesOn) {
      // It reads and does not keep up: another connection would not help. It may stand still again from here on.
      this.#suspicion = { ...suspicion, at: now, checks: 0 };
      return;
    }
    this.#suspicion = undefined;
    this.#connections.reconnect();
    this.#connections.dropCommands();
  }

  #evaluate(): void {
    if (this.#isClosed) {
      return;
    }
    const publishing = this.#publishing && `publishing fails (${this.#publishing.message})`;
    const reading = this.#reading
      ? `reading fails (${this.#reading.message})`
      : this.#stalled && `reading lags: ${this.#stalled}`;
    const wrong = [publishing, reading].filter((reason) => reason !== undefined).join('; ');
    const hints = new Set([this.#publishing, this.#reading].map((failure) => failure?.hint ?? ''));
    // Without a full stop: it stands within sentences.
    const reasons = `${wrong}.${[...hints].join('')}`.slice(0, -1);
    if (publishing && !this.#isReading) {
      this.#health.set('down', `${this.#engine}: ${reasons}`);
    } else if (reasons !== '') {
      this.#health.set('degraded', `${this.#engine}: ${reasons}`);
    } else if (this.#isReading) {
      this.#health.set('ready');
    }
  }
}

/** Returns how long a failure to publish counts if a look at the log works, and no publish does. */
function countsForMs({ isTransient, isOfConnection }: WatchedFailure): number {
  if (!isTransient) {
    return REFUSAL_MS;
  }
  return isOfConnection ? 0 : TRANSIENT_MS;
}
