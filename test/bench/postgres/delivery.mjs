/** How long an event takes from one process to another by PostgreSQL: published directly, and within a transaction. */
import { delaysOf } from '../delivery.mjs';
import { judge, verdictTable } from '../fan-out/verdicts.mjs';
import { startServer } from '../processes.mjs';
import { interval, median, quantile, table } from '../statistics.mjs';
import { takeRuns, takeTurns } from '../turns.mjs';
import { startInstance, withPostgres } from './server.mjs';

const PER_SECOND = 50;
const BYTES = 100;
const NAMES = {
  bare: 'bare INSERT and NOTIFY, to a reader that listens and selects',
  direct: 'publish, to sse.events() in another instance',
  within: 'a transaction of two statements with a publish, to the same',
};
const TARGETS = [
  { of: 'direct p50', to: 'bare p50', atMost: 3 },
  { of: 'within p50', to: 'bare p50', atMost: 8 },
  { of: 'direct p99', to: 'bare p99' },
  { of: 'within p99', to: 'bare p99' },
];

export const deliveryItems = {
  delivery: {
    title: `Delivery by PostgreSQL at ${PER_SECOND} events a second`,
    async run({ apps, load, quick, progress }) {
      const { runs, rounds, events } = quick
        ? { runs: 1, rounds: 2, events: 50 }
        : { runs: 5, rounds: 4, events: 300 };
      const all = await takeRuns({
        runs,
        progress,
        measure: (run) => withPostgres(load, (server) => measureRun({ apps, server, rounds, run, events })),
      });
      return report(all, { runs, rounds, events });
    },
  },
};

async function measureRun({ apps, server, rounds, run, events }) {
  const bare = (isReading) =>
    startServer(apps[12].barePostgres, { url: server.url, log: 'one', isReading, connections: 1 });
  const processes = await Promise.all([
    startInstance(apps, server),
    startInstance(apps, server),
    bare(false),
    bare(true),
  ]);
  const [publisher, receiver, bareOne, bareReader] = processes;
  const contestants = {
    bare: { publisher: bareOne, receiver: bareReader, task: 'steadily' },
    direct: { publisher, receiver, task: 'steadily' },
    within: { publisher, receiver, task: 'transactSteadily' },
  };
  try {
    await receiver.ask({ task: 'listen', topic: 0 });
    const measure = async (id) => {
      const { task } = contestants[id];
      const publishing = { task, events, perSecond: PER_SECOND, bytes: BYTES, topic: 0 };
      const delays = await delaysOf(id, contestants[id], publishing);
      return { p50: quantile(delays, 0.5), p99: quantile(delays, 0.99) };
    };
    await takeTurns(Object.keys(NAMES), { rounds: 1, run, measure });
    return await takeTurns(Object.keys(NAMES), { rounds, run, measure });
  } finally {
    await Promise.all(processes.map((process) => process.end()));
  }
}

function report(all, { runs, rounds, events }) {
  const of = (id, name) => all.get(id).map((list) => list.map((round) => round[name] / 1_000));
  const say = (list) => {
    const [low, high] = interval(list);
    return `${median(list.flat()).toFixed(1)} (${low.toFixed(1)} to ${high.toFixed(1)})`;
  };
  const rows = Object.entries(NAMES).map(([id, name]) => [name, say(of(id, 'p50')), say(of(id, 'p99'))]);
  const costs = new Map(
    Object.keys(NAMES).flatMap((id) => ['p50', 'p99'].map((name) => [`${id} ${name}`, of(id, name)])),
  );
  const judged = TARGETS.map((target) => judge(costs, target));
  const text = [
    `Milliseconds, for events of ${BYTES} bytes that are sent evenly, ${PER_SECOND} a second: median of ${runs} runs of`,
    `${rounds} interleaved rounds of ${events} events (95% interval). A transaction's time begins before its first statement.`,
    '',
    table(['', 'p50', 'p99'], rows),
    '',
    verdictTable(judged, (which) => {
      const [id, name] = which.split(' ');
      return `${name}, ${NAMES[id]}`;
    }),
  ].join('\n');
  return { text, judged: judged.filter(({ atMost }) => atMost !== undefined) };
}
