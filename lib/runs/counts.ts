import type { RunEndReason } from './record/index.js';

/** Counts of the runs of a process since its start. */
export class RunCounts {
  /** Runs that were started here. */
  started = 0;
  /** Starts that were refused because of a limit. */
  refused = 0;
  /**
   * Runs whose end was recorded by this process, by reason: those that it produced, and those of processes that are
   * gone. Each run is counted by one instance.
   */
  readonly ended: Record<RunEndReason, number> = {
    done: 0,
    client: 0,
    stop: 0,
    timeout: 0,
    error: 0,
    shutdown: 0,
    orphan: 0,
  };
}
