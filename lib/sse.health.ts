import { Subject } from 'rxjs';
import type { Observable } from 'rxjs';
import type { LogHealth, LogState } from './log/index.js';

/** State of the log of the app's topics. */
export interface SseHealthState {
  /**
   * - `ready`
   * - `degraded`: either publishing or following does not work, or lags.
   * - `down`: neither works.
   *
   * `memory()` is always ready.
   */
  readonly state: LogState;
  /** What is wrong, as text for people; undefined if nothing is. */
  readonly reason?: string;
  /** When the log came to this state. */
  readonly since: Date;
}

/**
 * The health of the log of the app's topics, now and as it changes. Streams stay open while the log is away, and catch
 * up when it is back.
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
  /** Emits each state that follows. Completes when the app has closed. */
  readonly changes: Observable<SseHealthState>;
}

/** Where outages are reported to operators. */
interface HealthLogger {
  warn(message: string): void;
  log(message: string): void;
}

/** Health of an engine, as the app sees it. */
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

  /** Starts to log outages. Before this an engine is not ready because nothing has used it, which needs no warning. */
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

// A shorter outage is not reported: a reconnect, or a failover that no client noticed.
const BLINK_MS = 1_000;
// Least time between two messages about a log that comes and goes.
const QUIET_MS = 10_000;
// How long the first connection may take: that of an app on a busy machine takes some seconds.
const START_MS = 5_000;

/**
 * Logs when a log has not been ready for a while, and when it is ready again. Short outages are counted, not logged.
 */
class OutageLog {
  readonly #health: LogHealth;
  readonly #logger: HealthLogger;
  /** Start of the outage, by a clock that does not jump; undefined while the log is ready. */
  #awaySince: number | undefined;
  #hasWarned = false;
  #quietUntil = -Infinity;
  /** End of the time in which the app may still be starting. */
  #patientUntil = -Infinity;
  /** Outages that ended before they were reported. */
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

  /** @returns the time of the next report; undefined if there is nothing to report */
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
