import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { ConnectionRegistry, toPlatform } from '../../lib/connection/index.js';
import { memory } from '../../lib/log/index.js';
import { Topics } from '../../lib/topics/index.js';
import type { FollowCounts } from '../../lib/topics/index.js';
import { History } from './history.js';
import { Random } from './random.js';
import { StressClient } from './stress-client.js';
import type { Return } from './stress-client.js';

export interface StressOptions {
  readonly seed: number;
  readonly seconds: number;
  readonly clients: number;
  /** Below 1,500, clients meet this limit before the log has trimmed what they missed. */
  readonly maxReplayEvents: number;
  /** False for a control run: the same work with clients that stay and read. */
  readonly withFaults: boolean;
}

export interface StressReport {
  readonly seed: number;
  readonly published: number;
  readonly received: number;
  /** How many clients dropped, stalled, and brought an id of each forged kind. */
  readonly injected: Record<string, number>;
  readonly resumes: FollowCounts;
  readonly direct: number;
  /** What a client got that it must not, or did not get that it must. */
  readonly faults: string[];
  /** What was left behind in the server. */
  readonly leftovers: { connections: number; followers: number; deadlines: number };
}

// Small, so that clients meet the end of the ring and of the log within seconds, on a slow machine too.
const RING_EVENTS = 150;
const LOG_EVENTS = 1_500;
const EVENTS_PER_TURN = 8;
const TURN_MS = 5;

const TOPICS = ['a.1', 'a.2', 'a.3', 'b.1.x', 'b.2.x', 'b.2.y', 'c', 'd.1.2.3'];
const PATTERNS = ['a.1', 'a.2', 'a.*', 'b.*.x', 'b.2.*', 'b.>', 'c', '>', '*.1.>', 'nothing.here', 'd.1.2.3'];

/** Publishers and clients in one process, over real sockets, for some seconds. */
export async function runStress(options: StressOptions): Promise<StressReport> {
  const run = await startRun(options);
  try {
    await run.work();
    return await run.finish();
  } finally {
    await run.stop();
  }
}

async function startRun({ seed, seconds, clients: count, maxReplayEvents, withFaults }: StressOptions) {
  const random = new Random(seed);
  const history = new History();
  const injected: Record<string, number> = {};
  const inject = (fault: string) => (injected[fault] = (injected[fault] ?? 0) + 1);
  const errors: string[] = [];
  const reporter = {
    warn: (message: string) => errors.push(message),
    error: (message: string, error: unknown) => errors.push(`${message} ${String(error)}`),
    debug: () => undefined,
  };
  const store = memory({ maxEvents: LOG_EVENTS })();
  const topics = new Topics(
    store,
    {
      resetEvent: 'reset',
      cursorEvent: 'cursor',
      maxEventBytes: 1_048_576,
      maxReplayEvents,
      ringEvents: RING_EVENTS,
      maxPatterns: 100,
      maxLagMs: 600_000,
      authorize: undefined,
    },
    reporter,
  );
  await topics.start();
  const registry = new ConnectionRegistry({
    maxConnections: Infinity,
    drain: { delayMs: 0, timeoutMs: 1_000, spreadMs: 0 },
    reporter,
    following: topics,
  });
  const server = createServer((req, res) => {
    const connection = registry.admit({
      platform: toPlatform(res),
      settings: {
        heartbeatMs: 1_000,
        retryMs: 3_000,
        maxConnectionMs: undefined,
        maxBufferedBytes: 1_048_576,
        maxEventBytes: 1_048_576,
        expiresAt: undefined,
      },
      finite: false,
    });
    connection.commit();
    connection.follow(new URL(req.url!, 'http://localhost').searchParams.getAll('pattern'));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;

  const held = () => ({
    first: Math.max(1, topics.tail.last - LOG_EVENTS + 1),
    last: topics.tail.last,
    maxReplayEvents,
  });
  const clients = Array.from({ length: count }, () => {
    const patterns = Array.from({ length: random.between(1, 3) }, () => random.pick(PATTERNS));
    return new StressClient({ url, patterns, history, held });
  });
  const over = new AbortController();

  const publish = async (): Promise<void> => {
    let n = 0;
    while (!over.signal.aborted) {
      for (let times = 0; times < EVENTS_PER_TURN; times += 1) {
        const topic = random.pick(TOPICS);
        n += 1;
        // Now and then a large one, so that sockets fill.
        const pad = random.next() < 0.05 ? 'x'.repeat(random.between(1_000, 60_000)) : '';
        const data = { n, pad };
        void topics.publish(topic, { data }).then(
          (position) => history.add(position, topic, JSON.stringify(data)),
          (error: unknown) => errors.push(String(error)),
        );
      }
      await pause(TURN_MS);
    }
  };

  const live = async (client: StressClient): Promise<void> => {
    await client.connect();
    while (!over.signal.aborted) {
      await pause(random.between(20, 400));
      if (withFaults && !over.signal.aborted) {
        await disturb(client);
      }
    }
  };

  const disturb = async (client: StressClient): Promise<void> => {
    if (random.next() < 0.25) {
      inject('stall');
      client.stall();
      await pause(random.between(100, 2_000));
      client.readOn();
      return;
    }
    inject('drop');
    client.drop();
    const until = held().last + absence(random);
    while (held().last < until && !over.signal.aborted) {
      await pause(10);
    }
    await client.connect(random.next() < 0.4 ? forged(client) : { id: client.lastId });
  };

  const forged = (client: StressClient): Return => {
    const id = client.lastId;
    const current = held();
    const parts = id?.split('-') ?? [];
    // Only what is well within the log can be told from what was trimmed meanwhile.
    if (!id || client.seen < current.first + LOG_EVENTS / 2 || client.seen >= current.last) {
      return { id };
    }
    const kind = random.pick(['diverged', 'epoch', 'regressed', 'invalid', 'cut']);
    inject(`forged: ${kind}`);
    switch (kind) {
      case 'diverged':
        return { id: `${parts[0]}-${parts[1]}-00c0ffee`, mustReset: 'diverged' };
      case 'epoch':
        return { id: `0000-${parts[1]}-${parts[2]}`, mustReset: 'epoch' };
      case 'regressed':
        return { id: `${parts[0]}-999999999-${parts[2]}`, mustReset: 'regressed' };
      case 'cut':
        return { id: id.slice(0, -3), mustReset: 'invalid' };
      default:
        return { id: random.pick(['0', 'abc', '-1', `${parts[0]}-01-${parts[2]}`]), mustReset: 'invalid' };
    }
  };

  return {
    work: async () => {
      const publishing = publish();
      const living = Promise.all(clients.map(live));
      await pause(seconds * 1_000);
      over.abort();
      await publishing;
      await living;
    },
    /** Every client is let read to the end of the log, and held against it once more. */
    finish: async (): Promise<StressReport> => {
      await topics.drain();
      await Promise.all(clients.map((client) => readToEnd(client, history)));
      const faults = [...errors, ...clients.flatMap((client) => client.faults)];
      const received = clients.reduce((sum, client) => sum + client.received, 0);
      clients.forEach((client) => client.drop());
      await until(() => registry.size === 0 && topics.followers === 0 && registry.wheel.size === 0);
      return {
        seed,
        published: topics.tail.last,
        received,
        injected,
        resumes: topics.counts,
        direct: registry.writeCounts.direct,
        faults,
        leftovers: {
          connections: registry.size,
          followers: topics.followers,
          deadlines: registry.wheel.size,
        },
      };
    },
    stop: async () => {
      over.abort();
      clients.forEach((client) => client.drop());
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await topics.close();
    },
  };
}

/** In events: so many that the ring holds them, or the log, or neither. */
function absence(random: Random): number {
  const kind = random.next();
  if (kind < 0.6) {
    return random.between(0, RING_EVENTS / 2);
  }
  if (kind < 0.8) {
    return random.between(RING_EVENTS * 2, LOG_EVENTS / 2);
  }
  return random.between(LOG_EVENTS * 0.9, LOG_EVENTS * 1.2);
}

async function readToEnd(client: StressClient, history: History): Promise<void> {
  client.drop();
  await client.connect({ id: client.lastId });
  const isWhole = () => history.missingBetween(client.seen, history.last + 1, client.patterns) === undefined;
  await until(isWhole);
  if (!isWhole()) {
    client.faults.push(
      `It never got ${history.missingBetween(client.seen, history.last + 1, client.patterns)}.`,
    );
  }
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (!condition() && Date.now() < deadline) {
    await pause(20);
  }
}
