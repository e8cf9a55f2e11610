import type { EventLog, EventLogStore } from '../../../lib/log/index.js';

/** An engine that the contract runs on, with nothing in its logs. */
export interface LogEngine {
  readonly store: EventLogStore;
  /** The store of another process on the same logs; the same store if the engine has one process. */
  readonly peer: EventLogStore;
}

/** An engine's tests, as the contract sees them. */
export interface LogEngineDriver {
  /** Called before each test. The contract closes both stores after it. */
  start(): Promise<LogEngine>;
  /** Frees what `start` took, after each test. */
  stop?(): Promise<void>;
  /** Lets time pass, also for the engine. */
  pass(ms: number): Promise<void>;
  /** Returns all that the engine holds of the logs, to compare it with what it holds later. */
  held?(): Promise<unknown>;
  /** A time to live of logs and leases that is long beside the engine's own delays. */
  readonly ttlMs: number;
  /** The most records that a log of `maxEvents: 10` may hold, for engines that trim by the block. */
  readonly mostOfTen: number;
}

/** The stores of the running test, for the chapters of the contract. They change with each test. */
export interface Contract {
  readonly driver: LogEngineDriver;
  readonly store: EventLogStore;
  readonly peer: EventLogStore;
  readonly log: EventLog;
}

/**
 * Runs what has to come in time: `attempt` lets parts of the ttl pass, and does what it does before the ttl is over.
 * Where the machine stood still for too long, a failure shows nothing, and it is tried again under another name.
 */
export async function inTime(
  driver: LogEngineDriver,
  attempt: (name: string, pass: (part: number) => Promise<void>) => Promise<void>,
): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    const started = performance.now();
    let meant = 0;
    const pass = async (part: number) => {
      meant += part * driver.ttlMs;
      await driver.pass(part * driver.ttlMs);
    };
    try {
      return await attempt(`in time ${tries}`, pass);
    } catch (error) {
      const lateMs = performance.now() - started - meant;
      if (lateMs < driver.ttlMs * 0.3 || tries === 5) {
        throw error;
      }
    }
  }
}
