import type { Random } from '../support/random.js';
import type { Sent } from './topics/history.js';
import type { Instance, PublishAnswer } from './topics/instance.js';
import type { BranchRecorder } from './topics/branch-recorder.js';
import type { Engine } from './engine.js';

/** What a fault may do with the run that it breaks into. */
export interface Stage {
  readonly random: Random;
  /** What must not be, and was seen. */
  readonly faults: string[];
  /** Those that clients and publishers are sent to, as they are now. */
  readonly serving: readonly Instance[];
  start(slot: number, version?: 'this' | 'other'): Promise<Instance>;
  kill(instance: Instance): Promise<void>;
  /** As a deploy does. */
  close(instance: Instance): Promise<void>;
  publish(instance: Instance, count?: number): Promise<PublishAnswer[]>;
  /** Waits until so many further publishes have ended like that. */
  untilPublished(kind: Sent['outcome']['kind'], count: number): Promise<void>;
  /** Until every instance publishes, and has all that the log has. */
  settle(): Promise<void>;
  burst(events: number): Promise<void>;
  crowd(): Promise<void>;
  /** Has the clients that have seen the newest events stay away; the returned function lets them come back. */
  sendAway(count: number): () => void;
}

/** How many clients come back to a log that has gone on another way. */
export const AWAY = 5;

export type Fault = (stage: Stage) => Promise<void>;

/** The servers that a run stands on, and what can happen to them. */
export interface Ground {
  readonly recorder: BranchRecorder;
  readonly faults: Readonly<Record<string, Fault>>;
  /** How the instance in that place reaches its engine. */
  engineOf(slot: number): Engine;
  /** What so many instances must not have left open. */
  leftovers(instances: number): Promise<string[]>;
  stop(): Promise<void>;
}
