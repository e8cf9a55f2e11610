import type { FaultProxy } from '../../support/faults/fault-proxy.js';
import type { Engine } from '../engine.js';
import type { RunsFault } from './faults.js';
import type { StoredRun } from './history.js';

/** What the logs of runs have ever held, past every fault. */
export interface RunRecorder {
  readonly runs: readonly StoredRun[];
  /** Reads what was written since the last time. Not twice at once. */
  look(): Promise<void>;
  /** The leases of runs that an instance holds. */
  leases(): Promise<string[]>;
  allLeases(): Promise<string[]>;
}

/** The server that the instances of a run of the test stand on, and what can happen to it. */
export interface RunsGround {
  readonly recorder: RunRecorder;
  /** The way of each instance to the server. */
  readonly ways: readonly FaultProxy[];
  readonly logFaults: Readonly<Record<string, RunsFault>>;
  /** Whether a fault waits for a run that is done since the one before: where a server takes seconds to come back. */
  readonly isSlowToReturn?: boolean;
  /** How the instance in that place reaches it. */
  engineOf(slot: number): Engine;
  stop(): Promise<void>;
}
