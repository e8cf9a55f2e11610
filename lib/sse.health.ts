import { Subject } from 'rxjs';
import type { Observable } from 'rxjs';
import type { LogHealth, LogState } from './log/index.js';

/** A state of the log of the app's topics. */
export interface SseHealthState {
  /**
   * `ready`; `degraded` where publishing or following does not work, or lags; `down` where neither
   * works. `memory()` is always ready.
   */
  readonly state: LogState;
  /** What is wrong, for people; undefined where nothing is. */
  readonly reason?: string;
  /** When it came to be so. */
  readonly since: Date;
}

/**
 * How the log of the app's topics fares. Streams stay open while it is away, and catch up after.
 *
 * @example
 * ```ts
 * @Controller('ready')
 * class ReadinessController {
 *   constructor(private readonly sse: SseService) {}
 *
 *   @Get()
 *   check() {
 *     const { state, reason, since } = this.sse.health;
 *     if (state === 'down') {
 *       throw new ServiceUnavailableException({ state, reason, since });
 *     }
 *     return { state, reason, since };
 *   }
 * }
 * ```
 */
export interface SseHealth extends SseHealthState {
  /** Each state that it comes to be in from now on. Completes when the app has closed. */
  readonly changes: Observable<SseHealthState>;
}

/** Where it is told, for the eyes of operators. */
interface HealthLogger {
  warn(message: string): void;
  log(message: string): void;
}

/** The health of an engine, as the app sees it. */
export class HealthMonitor implements SseHealth {
  readonly changes: Observable<SseHealthState>;
  readonly #health: LogHealth;
  readonly #outages: OutageLog;
  readonly #changed = new Subject<SseHealthState>();
  readonly #stopListening: () => void;
  #since = new Date();

  constructor(health: LogHealth, logger: HealthLogger) {
    this.#health = health;
    this.#outages = new OutageLog(health, logger);
    this.changes = this.#changed.asObservable();
    this.#stopListening = health.onChange(() => this.#onChange());
  }

  get state(): LogState {
    return this.#health.state;
  }

  get reason(): string | undefined {
    return this.#health.reason;
  }

  get since(): Date {
    return this.#since;
  }

  /** Logs from here on: an engine that nobody has asked for anything yet is not ready, and needs no warning. */
  start(): void {
    this.#outages.start();
  }

  close(): void {
    this.#stopListening();
    this.#outages.stop();
    this.#changed.complete();
  }

  #onChange(): void {
    const { state, reason } = this.#health;
    this.#since = new Date();
    this.#outages.check();
    this.#changed.next({ state, reason, since: this.#since });
  }
}

// What is over within that is no news: a reconnect, a failover that nobody has noticed.
const BLINK_MS = 1_000;
// One that comes and goes is told of once in that time.
const QUIET_MS = 10_000;
// An app that has just been started on a busy machine may need that long for its first connection.
const START_MS = 5_000;

/** Logs when a log has not been ready for a while, and when it is again; neither of a blink, nor of each of many. */
class OutageLog {
  readonly #health: LogHealth;
  readonly #logger: HealthLogger;
  /** Since when it has not been ready, by a clock that does not jump. */
  #awaySince: number | undefined;
  #hasWarned = false;
  #quietUntil = -Infinity;
  /** Until when the app may still be starting. */
  #patientUntil = -Infinity;
  /** Outages that were over before they were told of. */
  #leftOut = 0;
  #isRunning = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(health: LogHealth, logger: HealthLogger) {
    this.#health = health;
    this.#logger = logger;
  }

  start(): void {
    this.#isRunning = true;
    if (this.#health.state !== 'ready') {
      this.#patientUntil = performance.now() + START_MS;
    }
    this.check();
  }

  stop(): void {
    this.#isRunning = false;
    clearTimeout(this.#timer);
  }

  check(): void {
    if (!this.#isRunning) {
      return;
    }
    if (this.#health.state !== 'ready') {
      this.#awaySince ??= performance.now();
    } else if (this.#awaySince !== undefined) {
      this.#endOutage(performance.now() - this.#awaySince);
    }
    this.#schedule();
  }

  #endOutage(ms: number): void {
    this.#awaySince = undefined;
    if (this.#hasWarned) {
      this.#hasWarned = false;
      this.#logger.log(`The log of topics is ready again, after ${(ms / 1_000).toFixed(1)} s.`);
    } else if (ms >= BLINK_MS && performance.now() >= this.#patientUntil) {
      this.#leftOut += 1;
    }
  }

  #schedule(): void {
    clearTimeout(this.#timer);
    const at = this.#nextAt();
    if (at !== undefined) {
      this.#timer = setTimeout(() => this.#report(), Math.max(0, Math.ceil(at - performance.now())));
      this.#timer.unref();
    }
  }

  /** When there is something to tell of; undefined where there is nothing. */
  #nextAt(): number | undefined {
    if (this.#awaySince === undefined) {
      return this.#leftOut > 0 ? this.#quietUntil : undefined;
    }
    return this.#hasWarned
      ? undefined
      : Math.max(this.#awaySince + BLINK_MS, this.#quietUntil, this.#patientUntil);
  }

  #report(): void {
    const leftOut = this.#leftOut;
    this.#leftOut = 0;
    this.#quietUntil = performance.now() + QUIET_MS;
    const others = leftOut > 0 ? ` Since the last message it was away ${times(leftOut)} more.` : '';
    if (this.#awaySince === undefined) {
      this.#logger.log(`The log of topics is ready.${others}`);
      return;
    }
    this.#hasWarned = true;
    const { state, reason } = this.#health;
    this.#logger.warn(`The log of topics is ${state}${reason ? `: ${reason}` : ''}.${others}`);
  }
}

function times(count: number): string {
  return count === 1 ? 'once' : `${count} times`;
}
