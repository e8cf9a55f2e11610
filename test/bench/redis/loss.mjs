/** What clients lose, and do not hear of, when Redis fails: here, by socket.io's adapter, and by plain publish/subscribe. */
import { setTimeout as pause } from 'node:timers/promises';
import { startLosingClients, startServer } from '../processes.mjs';
import { median, table } from '../statistics.mjs';
import { Ground } from './ground.mjs';
import { thousands } from './servers.mjs';

const KINDS = {
  ours: 'this package',
  'socket.io': '@socket.io/redis-streams-adapter, connection state recovery on',
  'pub/sub': 'publish/subscribe by ioredis',
};
const PER_SECOND = 200;
const CLIENTS = 5;
/** Of each log; a burst is more than that. */
const MAX_EVENTS = 1_000;
const BURST = 3_000;
const BETWEEN_MS = [1_000, 2_000];
/** The longest that a client stays away is its `retry`. */
const AFTER_MS = 8_000;
const DEADLINE_MS = 30_000;

/** By name: what is done to the Redis, the network and the instance of one contestant. */
const FAULTS = {
  'connections killed': (ground) => ground.killConnections(),
  'server stopped for 1.5 s': (ground) => ground.stopServer(1_500),
  'network cut for 0.5 s': (ground) => ground.cutNetwork(500),
  'kill -9, nothing on disk': (ground) => ground.killServer(),
  'failover to a replica that missed 1 s': (ground) => ground.failOver(1_000),
  'instance stopped for 1.5 s, the log trimmed meanwhile': async (ground, { publisher, instance }) => {
    process.kill(instance.pid, 'SIGSTOP');
    await publisher.ask({ task: 'burst', events: BURST });
    await pause(1_500);
    process.kill(instance.pid, 'SIGCONT');
  },
};

export const lossItems = {
  loss: {
    title: 'Events lost when Redis fails',
    async run({ apps, load, quick, progress }) {
      const { Random } = await load('random.js');
      const seeds = quick ? [1] : [1, 2, 3];
      const results = [];
      for (const seed of seeds) {
        progress(`seed ${seed}`);
        const schedule = scheduleOf(new Random(seed));
        const running = Object.keys(KINDS).map(async (kind) => ({
          kind,
          seed,
          ...(await measureOnce({ apps, load, kind, schedule })),
        }));
        results.push(...(await Promise.all(running)));
      }
      return report(results, seeds);
    },
  },
};

/** Every fault once, in an order of the seed's. */
function scheduleOf(random) {
  return Object.keys(FAULTS)
    .map((name) => ({ name, place: random.next(), afterMs: random.between(...BETWEEN_MS) }))
    .toSorted((one, other) => one.place - other.place);
}

async function measureOnce({ apps, load, kind, schedule }) {
  const ground = await Ground.start(load);
  const clients = await startLosingClients();
  const start = (port) => startServer(apps[12].losing, { kind, port, maxEvents: MAX_EVENTS });
  const publisher = await start(ground.publisherPort);
  const instance = await start(ground.instancePort);
  try {
    await clients.ask({ task: 'open', kind, port: instance.port, count: CLIENTS });
    await publisher.ask({ task: 'start', perSecond: PER_SECOND });
    for (const { name, afterMs } of schedule) {
      await pause(afterMs);
      await FAULTS[name](ground, { publisher, instance });
    }
    await pause(AFTER_MS);
    await publisher.ask('stop');
    await untilQuiet(clients);
    const published = await publisher.ask('published');
    return judgeClients(published, await clients.ask('clients'));
  } finally {
    await Promise.all([publisher.end(), instance.end(), clients.end()]);
    await ground.stop();
  }
}

/** Waits until nothing has come for two seconds. */
async function untilQuiet(clients) {
  const deadline = performance.now() + DEADLINE_MS;
  for (let before = -1; performance.now() < deadline;) {
    const count = await clients.ask('count');
    if (count === before) {
      return;
    }
    before = count;
    await pause(2_000);
  }
  throw new Error('Events still come to the clients.');
}

/** An event counts as lost where it was accepted, and a client has never had it. */
function judgeClients(published, histories) {
  const accepted = published.filter(({ isRefused }) => !isRefused).map(({ n }) => n);
  const clients = histories.map((history) => {
    const numbers = history.filter((n) => n !== null);
    const had = new Set(numbers);
    return {
      lost: accepted.filter((n) => !had.has(n)).length,
      silent: countSilent(accepted, history, had),
      signs: history.length - numbers.length,
      twice: numbers.length - had.size,
    };
  });
  return { published: published.length, accepted: accepted.length, clients };
}

/** How many are missing between two that a client has had, or at the end, without a sign between these. */
function countSilent(accepted, history, had) {
  let silent = 0;
  let index = 0;
  let hasSign = false;
  const pass = (end) => {
    for (; index < accepted.length && accepted[index] < end; index += 1) {
      if (!had.has(accepted[index]) && !hasSign) {
        silent += 1;
      }
    }
  };
  for (const n of history) {
    if (n === null) {
      hasSign = true;
    } else if (n >= accepted[index]) {
      pass(n);
      hasSign = false;
    }
  }
  pass(Infinity);
  return silent;
}

function report(results, seeds) {
  const rows = results.map(({ kind, seed, published, accepted, clients }) => [
    KINDS[kind],
    `${seed}`,
    thousands(published),
    thousands(published - accepted),
    ...['lost', 'silent', 'signs', 'twice'].map((name) => spread(clients.map((client) => client[name]))),
  ]);
  const failed = results.some(
    ({ kind, clients }) => kind === 'ours' && clients.some(({ silent }) => silent > 0),
  );
  const text = [
    `${PER_SECOND} events a second through one instance to ${CLIENTS} clients of another, while each of these happens once, in an order and at times`,
    `of the seed's, the same ones for all: ${Object.keys(FAULTS).join('; ')} (${thousands(BURST)} events, where a log keeps`,
    `${thousands(MAX_EVENTS)}). Each has a Redis, a replica and a network of its own. The median of the clients (least to most).`,
    '',
    table(
      [
        '',
        'seed',
        'published',
        'refused',
        'lost by a client',
        'of these silently',
        'signs of loss',
        'had twice',
      ],
      rows,
    ),
    '',
    'Refused is what the app was told of, by a promise that was rejected. A sign of loss is the `reset` event here, and',
    '`socket.recovered === false` after a reconnect with Socket.IO; publish/subscribe has none. What is missing between two',
    'events is lost silently where no sign stands between them.',
    '',
    `Seeds: ${seeds.join(', ')}. Lost silently by this package: ${failed ? '**some**' : 'none'}.`,
  ].join('\n');
  return { text, failed };
}

function spread(values) {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  return least === most
    ? thousands(least)
    : `${thousands(median(values))} (${thousands(least)} to ${thousands(most)})`;
}
