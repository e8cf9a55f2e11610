/** How many events a second a process publishes to an engine. */
import { judge, verdictTable } from './fan-out/verdicts.mjs';
import { interval, median, table } from './statistics.mjs';
import { thousands } from './redis/servers.mjs';
import { takeRuns, takeTurns } from './turns.mjs';

const BYTES = 100;
const WAYS = {
  single: { name: 'one by one, each awaited', inFlight: 1, isOneTurn: false, atMost: 1.4 },
  flight: { name: '64 in flight', inFlight: 64, isOneTurn: false, atMost: 1.25 },
  turn: { name: '64 in one turn, awaited together', inFlight: 64, isOneTurn: true, atMost: 1.2 },
};
const WHO = {
  bare: 'bare',
  reading: 'bare, in a process that reads the stream, too',
  ours: 'this package',
};

/** @param {import('./engines.mjs').Engine} engine */
export const publishingOf = (engine) => ({
  publish: {
    title: `Publishing to ${engine.name}`,
    async run({ apps, load, quick, progress }) {
      const { runs, rounds, most } = quick
        ? { runs: 1, rounds: 2, most: { single: 500, flight: 2_560, turn: 2_560 } }
        : { runs: 5, rounds: 5, most: { single: 2_000, flight: 9_600, turn: 9_600 } };
      const share = ([way, count]) => [way, count / (engine.slowness ?? 1)];
      const events = Object.fromEntries(Object.entries(most).map(share));
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
  const bare = (log, isReading) => engine.startBare(apps, server, { log, isReading, load });
  const servers = {
    bare: await bare('one', false),
    reading: await bare('two', true),
    ours: await engine.startInstance(apps, server, {}),
  };
  const ids = Object.keys(WAYS).flatMap((way) => Object.keys(WHO).map((who) => `${who} ${way}`));
  const measure = async (id) => {
    const [who, way] = id.split(' ');
    const publisher = servers[who];
    const { inFlight, isOneTurn } = WAYS[way];
    const before = { engine: await engine.cpuOf(server), own: await publisher.ask('cpu') };
    const ms = await publisher.ask({
      task: 'throughput',
      inFlight,
      isOneTurn,
      events: events[way],
      bytes: BYTES,
    });
    return {
      us: (ms * 1_000) / events[way],
      ownUs: ((await publisher.ask('cpu')) - before.own) / events[way],
      engineUs: ((await engine.cpuOf(server)) - before.engine) / events[way],
    };
  };
  try {
    await takeTurns(ids, { rounds: 2, run, measure });
    return await takeTurns(ids, { rounds, run, measure });
  } finally {
    await Promise.all(Object.values(servers).map((publisher) => publisher.end()));
  }
}

function report(all, { engine, runs, rounds, events }) {
  const of = (id, name) => all.get(id).map((list) => list.map((round) => round[name]));
  const rows = Array.from(all.keys(), (id) => {
    const [who, way] = id.split(' ');
    const times = of(id, 'us');
    // The shortest time is the highest throughput.
    const [low, high] = interval(times).map((us) => thousands(1_000_000 / us));
    const perSecond = thousands(1_000_000 / median(times.flat()));
    return [
      WAYS[way].name,
      WHO[who],
      `${perSecond} (${high} to ${low})`,
      medianOf(of(id, 'ownUs')),
      medianOf(of(id, 'engineUs')),
    ];
  });
  const times = new Map(Array.from(all.keys(), (id) => [id, of(id, 'us')]));
  const judged = targetsOf(engine).map((target) => judge(times, target));
  const nameOf = (id) => {
    const [who, way] = id.split(' ');
    return `${WHO[who]}, ${WAYS[way].name}`;
  };
  const text = [
    `Events of ${BYTES} bytes a second, by one process (bare is ${engine.barePublish}): median of ${runs} runs of ${rounds} interleaved rounds (95% interval);`,
    `a round is ${Object.entries(events)
      .map(([way, count]) => `${count.toLocaleString('en')} events ${WAYS[way].name}`)
      .join('; ')}.`,
    '',
    table(['', '', 'events a second', 'CPU of the process, µs an event', `of ${engine.name}`], rows),
    '',
    'The ratios are of time an event.',
    ...(engine.targets ? [] : WHAT_IS_JUDGED),
    '',
    verdictTable(judged, nameOf),
  ].join('\n');
  return { text, judged: judged.filter(({ atMost }) => atMost !== undefined) };
}

const WHAT_IS_JUDGED = [
  'One to a process that reads the stream as well is judged, since each instance does both. What is published in one turn',
  'is to have at least three times the throughput if it goes in one request.',
];

function targetsOf({ gathers, targets }) {
  const pairs = (to, isJudged) =>
    Object.entries(WAYS).map(([way, { atMost }]) => ({
      of: `ours ${way}`,
      to: `${to} ${way}`,
      ...(isJudged && { atMost }),
    }));
  if (targets) {
    const judged = new Set(targets.map(({ of, to }) => `${of} ${to}`));
    const seen = [...pairs('bare', false), ...pairs('reading', false)];
    return [...targets, ...seen.filter(({ of, to }) => !judged.has(`${of} ${to}`))];
  }
  return [
    ...pairs('reading', true),
    ...(gathers ? [{ of: 'ours turn', to: 'ours single', atMost: 1 / 3 }] : []),
    ...pairs('bare', false),
  ];
}

function medianOf(runs) {
  return median(runs.flat()).toFixed(1);
}
