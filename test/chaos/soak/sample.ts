/** What an instance of the soak says of itself, after a garbage collection. */
export interface Sample {
  /** Bytes. */
  readonly heap: number;
  readonly external: number;
  readonly rss: number;
  /** Open file descriptors, sockets among them. */
  readonly descriptors: number;
  /** What keeps the process alive: sockets, servers, timers that are referenced. */
  readonly handles: number;
  readonly timers: number;
  /** Listeners of the process and the server, and of the socket that has most. */
  readonly listeners: number;
  /** Deadlines on the wheel of the connections. */
  readonly deadlines: number;
  /** The 99th percentile of how late the event loop was, in milliseconds, and the worst, since the last sample. */
  readonly loopP99Ms: number;
  readonly loopMaxMs: number;
  /** Since the start of the process. */
  readonly cpuMs: number;
  readonly connections: number;
  readonly followers: number;
  readonly behind: number;
  /** Events: the most that a follower lacks, what the log lacks of what it has acknowledged, what waits for the fan-out. */
  readonly followerLag: number;
  readonly logLag: number;
  readonly pending: number;
  /** Bytes that wait for slow clients. */
  readonly queued: number;
  readonly runs: number;
  /** Keys with open connections. */
  readonly keys: number;
}

/** A value of a sample that must not grow. */
export interface Measure {
  readonly name: keyof Sample;
  readonly unit: 'bytes' | 'ms' | 'events' | '';
  /** What it may grow by within the measured time: an engine that compiles, and a level that moves with the load. */
  readonly tolerance: number;
}

const MIB = 1_048_576;

export const MEASURES: readonly Measure[] = [
  { name: 'heap', unit: 'bytes', tolerance: 2 * MIB },
  { name: 'external', unit: 'bytes', tolerance: 2 * MIB },
  // Pages that the allocator keeps.
  { name: 'rss', unit: 'bytes', tolerance: 32 * MIB },
  { name: 'descriptors', unit: '', tolerance: 5 },
  { name: 'handles', unit: '', tolerance: 5 },
  { name: 'timers', unit: '', tolerance: 5 },
  { name: 'listeners', unit: '', tolerance: 3 },
  { name: 'deadlines', unit: '', tolerance: 20 },
  { name: 'loopP99Ms', unit: 'ms', tolerance: 50 },
  { name: 'followerLag', unit: 'events', tolerance: 200 },
  { name: 'logLag', unit: 'events', tolerance: 50 },
  { name: 'queued', unit: 'bytes', tolerance: MIB },
  { name: 'keys', unit: '', tolerance: 5 },
];

/** What is 0 when no client is there. */
export const AT_REST: readonly (keyof Sample)[] = [
  'connections',
  'followers',
  'behind',
  'logLag',
  'pending',
  'queued',
  'runs',
  'keys',
  'deadlines',
];
