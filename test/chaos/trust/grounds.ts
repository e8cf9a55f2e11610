import type { Random } from '../../support/random.js';
import { Cluster } from '../cluster.ground.js';
import type { Fault, Ground, Stage } from '../ground.js';
import { SingleNats } from '../nats.ground.js';
import { Sentinels } from '../sentinel.ground.js';
import { SingleServer } from '../single-server.ground.js';
import type { LogRecorder } from '../topics/log-recorder.js';

/** What happens to the log of an engine. */
export interface LogFault {
  readonly name: string;
  /** What was acknowledged this long before it, in milliseconds, may be lost; 0 if the log keeps all. */
  readonly losesMs: number;
}

/** An engine of the test. */
export interface TrustEngine {
  readonly name: string;
  readonly start: () => Promise<Ground>;
  /** A restart or a failover, after which the log has what it had, but for the last moment. */
  readonly restart: LogFault;
  /** What takes all of it. */
  readonly loss: LogFault;
}

// A replica is behind by less, and NATS writes what it has acknowledged sooner.
const LAST_MOMENT_MS = 2_000;
const FLUSH: LogFault = { name: 'everything is flushed', losesMs: Infinity };

export const ENGINES: readonly TrustEngine[] = [
  {
    name: 'Redis',
    start: () => SingleServer.start(),
    restart: { name: 'Redis is killed, and has kept all', losesMs: 0 },
    loss: FLUSH,
  },
  {
    name: 'Redis with Sentinels',
    start: () => Sentinels.start(),
    restart: { name: 'Sentinels promote a replica', losesMs: LAST_MOMENT_MS },
    loss: FLUSH,
  },
  {
    name: 'Redis Cluster',
    start: () => Cluster.start(),
    restart: { name: 'the slot of the log moves while readers wait', losesMs: 0 },
    loss: FLUSH,
  },
  {
    name: 'NATS',
    start: () => SingleNats.start(),
    restart: { name: 'NATS is killed, and has kept all', losesMs: LAST_MOMENT_MS },
    loss: { name: 'NATS is killed, and has kept nothing', losesMs: Infinity },
  },
];

/** Has it happen. Of a stage, these faults need no more than its numbers. */
export async function inject(ground: Ground, { name }: LogFault, random: Random): Promise<void> {
  const fault: Fault | undefined = ground.faults[name];
  if (fault) {
    await fault({ random } as Stage);
  } else {
    await (ground.recorder as LogRecorder).look([['FLUSHALL']]);
  }
}
