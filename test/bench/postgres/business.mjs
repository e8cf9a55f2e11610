/** How many short transactions of an app a second, with a publish in each and without. */
import { judge, verdictTable } from '../fan-out/verdicts.mjs';
import { thousands } from '../redis/servers.mjs';
import { interval, median, table } from '../statistics.mjs';
import { takeRuns, takeTurns } from '../turns.mjs';
import { cpuOf, startInstance, withPostgres } from './server.mjs';

const IN_FLIGHT = 8;
const BYTES = 100;
const NAMES = {
  transact: 'without',
  transactAndPublish: 'with a publish',
};
// At 0.7 of the transactions a second, or more.
const TARGET = { of: 'transactAndPublish', to: 'transact', atMost: 1 / 0.7 };

export const businessItems = {
  business: {
    title: 'Business transactions on PostgreSQL',
    async run({ apps, load, quick, progress }) {
      const { runs, rounds, events } = quick
        ? { runs: 1, rounds: 2, events: 400 }
        : { runs: 5, rounds: 6, events: 4_000 };
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
  const app = await startInstance(apps, server);
  const measure = async (task) => {
    const before = { server: await cpuOf(server), own: await app.ask('cpu') };
    const ms = await app.ask({ task, events, inFlight: IN_FLIGHT, isOneTurn: false, bytes: BYTES });
    return {
      us: (ms * 1_000) / events,
      ownUs: ((await app.ask('cpu')) - before.own) / events,
      serverUs: ((await cpuOf(server)) - before.server) / events,
    };
  };
  try {
    await takeTurns(Object.keys(NAMES), { rounds: 1, run, measure });
    return await takeTurns(Object.keys(NAMES), { rounds, run, measure });
  } finally {
    await app.end();
  }
}

function report(all, { runs, rounds, events }) {
  const of = (id, name) => all.get(id).map((list) => list.map((round) => round[name]));
  const rows = Object.entries(NAMES).map(([id, name]) => {
    const times = of(id, 'us');
    // The shortest time is the highest throughput.
    const [low, high] = interval(times).map((us) => thousands(1_000_000 / us));
    return [
      name,
      `${thousands(1_000_000 / median(times.flat()))} (${high} to ${low})`,
      median(of(id, 'ownUs').flat()).toFixed(0),
      median(of(id, 'serverUs').flat()).toFixed(0),
    ];
  });
  const times = new Map(Object.keys(NAMES).map((id) => [id, of(id, 'us')]));
  const judged = [judge(times, TARGET)];
  const text = [
    `Transactions a second of one process, ${IN_FLIGHT} at a time, of an update and an insert: median of ${runs} runs of ${rounds}`,
    `interleaved rounds of ${events.toLocaleString('en')} (95% interval). The process takes the events into the log meanwhile, and reads them.`,
    '',
    table(['', 'transactions a second', 'CPU of the process, µs each', 'of PostgreSQL'], rows),
    '',
    'The ratio is of time a transaction: 1.43 is 0.7 of the transactions a second.',
    '',
    verdictTable(judged, (id) => NAMES[id]),
  ].join('\n');
  return { text, judged };
}
