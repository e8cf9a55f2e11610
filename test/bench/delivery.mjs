/** How long an event takes from one process to another, by a log on an engine. */
import { startCountingClients } from './processes.mjs';
import { judge, verdictTable } from './fan-out/verdicts.mjs';
import { interval, median, quantile, table } from './statistics.mjs';
import { takeRuns, takeTurns } from './turns.mjs';

const PER_SECOND = 2_000;
const BYTES = 100;
/** Of the median delay, and of the 99th percentile. */
const MAX_TO_EVENTS = 1.6;
const MAX_TO_CLIENT = 1.4;
const MAX_TAIL = 2;
const NAMES = {
  bare: 'bare',
  same: "bare, by the package's own request, from a process that reads the log, too",
  written: 'bare, and written to a client by res.write: until the client has read it',
  events: 'this package: from publish to sse.events() in another instance',
  client: 'this package: from publish to a client of another instance',
};
/** One topic for each way to receive. */
const TOPICS = { client: 0, events: 1 };

/** @param {import('./engines.mjs').Engine} engine */
export const deliveryOf = (engine) => ({
  delivery: {
    title: `Delivery by ${engine.name} at ${PER_SECOND.toLocaleString('en')} events a second`,
    async run({ apps, load, quick, progress }) {
      const { runs, rounds, events } = quick
        ? { runs: 1, rounds: 2, events: 1_000 }
        : { runs: 5, rounds: 3, events: 3_000 };
      const all = await takeRuns({
        runs,
        progress,
        measure: (run) =>
          engine.withServer(load, (server) =>
            measureRun({ engine, apps, load, server, rounds, run, events }),
          ),
      });
      return report(all, { engine, runs, rounds, events });
    },
  },
});

async function measureRun({ engine, apps, load, server, rounds, run, events }) {
  const contestants = await startAll(engine, apps, load, server);
  try {
    const measure = async (id) => {
      const { publisher, receiver, reader = receiver, topic } = contestants[id];
      const spent = async () => [
        await publisher.ask('cpu'),
        await reader.ask('cpu'),
        await engine.cpuOf(server),
      ];
      const before = await spent();
      const delays = await delaysOf(id, contestants[id], {
        task: 'steadily',
        events,
        perSecond: PER_SECOND,
        bytes: BYTES,
        topic,
      });
      const cpu = (await spent()).map((us, n) => (us - before[n]) / events);
      return { p50: quantile(delays, 0.5), p99: quantile(delays, 0.99), cpu };
    };
    // Caches, and code that is compiled when it has run often.
    await takeTurns(Object.keys(NAMES), { rounds: 2, run, measure });
    return await takeTurns(Object.keys(NAMES), { rounds, run, measure });
  } finally {
    const processes = Object.values(contestants).flatMap(({ publisher, receiver, reader }) =>
      [publisher, receiver, reader].filter(Boolean),
    );
    await Promise.all(processes.map((process) => process.end()));
  }
}

/**
 * Has events published, and waits for all of them.
 *
 * @returns {Promise<number[]>} how long each took, in microseconds
 */
export async function delaysOf(id, { publisher, receiver }, publishing) {
  const { events } = publishing;
  await receiver.ask('takeDelays');
  await publisher.ask(publishing);
  const delays = [];
  while (delays.length < events) {
    delays.push(...(await receiver.ask('takeDelays')));
  }
  if (delays.length > events) {
    throw new Error(`${id}: ${delays.length} events have come, not ${events}`);
  }
  return delays;
}

async function startAll(engine, apps, load, server) {
  const bare = (log, isReading, load) => engine.startBare(apps, server, { log, isReading, load });
  const layout = { topics: Object.keys(TOPICS).length, perClient: 1 };
  const [publisher, receiver, bareOne, bareOneReader, bareTwo, bareTwoReader, same, sameReader] =
    await Promise.all([
      engine.startInstance(apps, server, layout),
      engine.startInstance(apps, server, layout),
      bare('one', false),
      bare('one', true),
      bare('two', false),
      bare('two', true),
      bare('three', true, load),
      bare('three', true),
    ]);
  await receiver.ask({ task: 'listen', topic: TOPICS.events });
  const ours = await openClient(receiver.port, '/connect-follow', TOPICS.client);
  const theirs = await openClient(bareTwoReader.port, '/', 0);
  return {
    bare: { publisher: bareOne, receiver: bareOneReader, topic: 0 },
    same: { publisher: same, receiver: sameReader, topic: 0 },
    written: { publisher: bareTwo, receiver: theirs, reader: bareTwoReader, topic: 0 },
    events: { publisher, receiver, topic: TOPICS.events },
    client: { publisher, receiver: ours, reader: receiver, topic: TOPICS.client },
  };
}

async function openClient(port, path, client) {
  const clients = await startCountingClients();
  await clients.ask({ task: 'open', port, path, client, first: 0, count: 1 });
  await clients.ask('measureDelays');
  return clients;
}

function report(all, { engine, runs, rounds, events }) {
  const say = (list) => {
    const [low, high] = interval(list);
    return `${(median(list.flat()) / 1_000).toFixed(2)} (${(low / 1_000).toFixed(2)} to ${(high / 1_000).toFixed(2)})`;
  };
  const of = (id, name) => all.get(id).map((list) => list.map((round) => round[name]));
  const rows = Object.entries(NAMES).map(([id, name]) => [
    name,
    say(of(id, 'p50')),
    say(of(id, 'p99')),
    ...[0, 1, 2].map((n) =>
      median(of(id, 'cpu').flatMap((rounds) => rounds.map((cpu) => cpu[n]))).toFixed(0),
    ),
  ]);
  const costs = new Map(
    Object.keys(NAMES).flatMap((id) => ['p50', 'p99'].map((name) => [`${id} ${name}`, of(id, name)])),
  );
  const judged = [
    judge(costs, { of: 'events p50', to: 'bare p50', atMost: MAX_TO_EVENTS }),
    judge(costs, { of: 'client p50', to: 'written p50', atMost: MAX_TO_CLIENT }),
    judge(costs, { of: 'events p99', to: 'bare p99', atMost: MAX_TAIL }),
    judge(costs, { of: 'client p99', to: 'written p99', atMost: MAX_TAIL }),
    judge(costs, { of: 'same p50', to: 'bare p50' }),
    judge(costs, { of: 'events p50', to: 'same p50' }),
    judge(costs, { of: 'same p99', to: 'bare p99' }),
    judge(costs, { of: 'events p99', to: 'same p99' }),
  ];
  const nameOf = (which) => {
    const [id, name] = which.split(' ');
    return `${name}, ${NAMES[id]}`;
  };
  const text = [
    `Milliseconds, for events of ${BYTES} bytes that are sent evenly, ${PER_SECOND.toLocaleString('en')} a second: median of ${runs} runs of`,
    `${rounds} interleaved rounds of ${events.toLocaleString('en')} events (95% interval).`,
    '',
    table(['', 'p50', 'p99', 'CPU of the publisher', 'of the reader', `of ${engine.name}`], rows),
    '',
    `Bare is ${engine.bareWay}. CPU is in µs an event. A publisher of this package reads its log as well, as each instance does; a bare one does not.`,
    '',
    verdictTable(judged, nameOf),
  ].join('\n');
  return { text, judged: judged.filter(({ atMost }) => atMost !== undefined) };
}
