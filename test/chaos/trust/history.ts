/**
 * What a run of the test writes down of one engine and the instances that share it. Times are milliseconds since 1970:
 * all processes are on one machine.
 */
export interface TrustHistory {
  readonly promises: Promises;
  readonly instances: readonly InstanceRecord[];
  readonly disturbances: readonly Disturbance[];
  readonly presentations: readonly Presentation[];
  readonly revocations: readonly RevocationRecord[];
  readonly visits: readonly Visit[];
  readonly stays: readonly Stay[];
  readonly changes: readonly ToldChange[];
  readonly lists: readonly ListRecord[];
}

/** What the guide promises, in milliseconds, and what a busy machine may add. */
export interface Promises {
  /** From the end of `revoke()` until every instance keeps the key away. */
  readonly revokedMs: number;
  /** From the return of the log until its instances have written back what it lost. */
  readonly writtenBackMs: number;
  readonly graceMs: number;
  readonly leaseMs: number;
  readonly slackMs: number;
}

export interface InstanceRecord {
  readonly name: string;
  /** When its process was started: it has read the log later. */
  readonly startedAt: number;
}

/** A time in which the log, or a process, does not do its part. */
export interface Disturbance {
  readonly name: string;
  readonly at: number;
  /** When all instances had the log again. */
  readonly until: number;
  /** What was acknowledged from here on may be lost; `Infinity` if the log has kept all. */
  readonly losesFrom: number;
}

/** One ticket, presented to one instance. */
export interface Presentation {
  readonly ticket: string;
  readonly instance: string;
  readonly askedAt: number;
  readonly answeredAt: number;
  /** `unknown` if the answer was lost: the stream may have been opened. */
  readonly outcome: 'opened' | 'spent' | 'unknown';
}

/** A call of `revoke()` that has resolved. */
export interface RevocationRecord {
  readonly user: string;
  readonly at: number;
}

/** A user who asks an instance for a stream. */
export interface Visit {
  readonly user: string;
  readonly instance: string;
  /** Whether the route is marked `revocable`. */
  readonly isRevocable: boolean;
  readonly askedAt: number;
  readonly outcome: 'admitted' | 'refused' | 'shed' | 'unknown';
  /** When the stream ended; undefined if it was open to the end of the test. */
  readonly endedAt: number | undefined;
}

/** A stream that makes a member present. */
export interface Stay {
  readonly member: string;
  readonly instance: string;
  readonly from: number;
  /** When its last byte came: the server may have closed it at any time after that. */
  readonly seenUntil: number;
  /** When it was over for certain; undefined while it is open. */
  readonly endedAt: number | undefined;
  /** Whether its instance was killed. */
  readonly isKilled: boolean;
}

/** A change that a watcher was told. */
export interface ToldChange {
  readonly at: number;
  readonly joined: readonly string[];
  readonly updated: readonly string[];
  readonly left: readonly string[];
  readonly count: number;
}

/** What an instance has answered when it was asked for the members. */
export interface ListRecord {
  readonly instance: string;
  readonly at: number;
  readonly members: readonly string[];
}
