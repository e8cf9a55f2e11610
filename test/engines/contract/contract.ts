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
