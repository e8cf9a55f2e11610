/** How long an event takes from one process to another. */
import { startCountingClients, startServer } from '../processes.mjs';
import { judge, verdictTable } from '../fan-out/verdicts.mjs';
import { interval, median, quantile, table } from '../statistics.mjs';
import { startInstance, withRedis } from './servers.mjs';
import { takeTurns } from './turns.mjs';

const PER_SECOND = 2_000;
const BYTES = 100;
const MAX_RATIO = 1.5;
const NAMES = {
  bare: 'bare: from XADD to the answer of a blocked XREAD in another process',
  written: 'bare, and written to a client by res.write: until the client has read it',
  events: 'this package: from publish to sse.events() in another instance',
  client: 'this package: from publish to a client of another instance',
};
/** One topic for each way to receive. */
const TOPICS = { client: 0, events: 1 };

export const deliveryItems = {
  delivery: {
    title: `Delivery at ${PER_SECOND.toLocaleString('en')} events a second`,
    async run({ apps, load, quick, progress }) {
      const { runs, rounds, events } = quick
        ? { runs: 1, rounds: 2, events: 1_000 }
        : { runs: 5, rounds: 3, events: 3_000 };
      const all = new Map(Object.keys(NAMES).map((id) => [id, []]));
      for (let run = 0; run < runs; run += 1) {
        progress(`run ${run + 1} of ${runs}`);
        const measured = await withRedis(load, (redis) => measureRun({ apps, redis, rounds, run, events }));
        measured.forEach((list, id) => all.get(id).push(list));
      }
      return report(all, { runs, rounds, events });
    },
  },
};

async function measureRun({ apps, redis, rounds, run, events }) {
  const contestants = await startAll(apps, redis);
  try {
    const measure = async (id) => {
      const { publisher, receiver, topic } = contestants[id];
      await receiver.ask('takeDelays');
      await publisher.ask({ task: 'steadily', events, perSecond: PER_SECOND, bytes: BYTES, topic });
      const delays = [];
      while (delays.length < events) {
        delays.push(...(await receiver.ask('takeDelays')));
      }
      if (delays.length > events) {
        throw new Error(`${id}: ${delays.length} events have come, not ${events}`);
      }
      return { p50: quantile(delays, 0.5), p99: quantile(delays, 0.99) };
    };
    // Caches, and code that is compiled when it has run often.
    await takeTurns(Object.keys(NAMES), { rounds: 2, run, measure });
    return await takeTurns(Object.keys(NAMES), { rounds, run, measure });
  } finally {
    const processes = Object.values(contestants).flatMap(({ publisher, receiver, others = [] }) => [
      publisher,
      receiver,
      ...others,
    ]);
    await Promise.all(processes.map((process) => process.end()));
  }
}

async function startAll(apps, redis) {
  const bare = (options) => startServer(apps[12].bareRedis, { port: redis.port, ...options });
  const layout = { topics: Object.keys(TOPICS).length, perClient: 1 };
  const [publisher, receiver, bareOne, bareOneReader, bareTwo, bareTwoReader] = await Promise.all([
    startInstance({ apps, redis, layout }),
    startInstance({ apps, redis, layout }),
    bare({ key: '{one}:events' }),
    bare({ key: '{one}:events', isReading: true }),
    bare({ key: '{two}:events' }),
    bare({ key: '{two}:events', isReading: true }),
  ]);
  await receiver.ask({ task: 'listen', topic: TOPICS.events });
  const ours = await openClient(receiver.port, '/connect-follow', TOPICS.client);
  const theirs = await openClient(bareTwoReader.port, '/', 0);
  return {
    bare: { publisher: bareOne, receiver: bareOneReader, topic: 0 },
    written: { publisher: bareTwo, receiver: theirs, topic: 0, others: [bareTwoReader] },
    events: { publisher, receiver, topic: TOPICS.events },
    client: { publisher, receiver: ours, topic: TOPICS.client },
  };
}

async function openClient(port, path, client) {
  const clients = await startCountingClients();
  await clients.ask({ task: 'open', port, path, client, first: 0, count: 1 });
  await clients.ask('measureDelays');
  return clients;
}

function report(all, { runs, rounds, events }) {
  const say = (list) => {
    const [low, high] = interval(list);
    return `${(median(list.flat()) / 1_000).toFixed(2)} (${(low / 1_000).toFixed(2)} to ${(high / 1_000).toFixed(2)})`;
  };
  const of = (id, name) => all.get(id).map((list) => list.map((round) => round[name]));
  const rows = Object.entries(NAMES).map(([id, name]) => [name, say(of(id, 'p50')), say(of(id, 'p99'))]);
  const p50 = new Map(Object.keys(NAMES).map((id) => [id, of(id, 'p50')]));
  const judged = [
    judge(p50, { of: 'client', to: 'bare', atMost: MAX_RATIO }),
    judge(p50, { of: 'events', to: 'bare', atMost: MAX_RATIO }),
    judge(p50, { of: 'client', to: 'written' }),
  ];
  const text = [
    `Milliseconds, for events of ${BYTES} bytes that are sent evenly, ${PER_SECOND.toLocaleString('en')} a second: median of ${runs} runs of`,
    `${rounds} interleaved rounds of ${events.toLocaleString('en')} events (95% interval).`,
    '',
    table(['', 'p50', 'p99'], rows),
    '',
    verdictTable(judged, (id) => NAMES[id]),
  ].join('\n');
  return { text, judged: judged.filter(({ atMost }) => atMost !== undefined) };
}
