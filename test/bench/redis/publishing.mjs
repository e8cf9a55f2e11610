/** How many events a second a process publishes. */
import { startServer } from '../processes.mjs';
import { judge, verdictTable } from '../fan-out/verdicts.mjs';
import { interval, median, table } from '../statistics.mjs';
import { cpuOf, scriptsOf, startInstance, thousands, withRedis } from './servers.mjs';
import { takeTurns } from './turns.mjs';

const BYTES = 100;
const WAYS = {
  single: { name: 'one by one, each awaited', inFlight: 1, isOneTurn: false, atMost: 1.4 },
  flight: { name: '64 in flight', inFlight: 64, isOneTurn: false, atMost: 1.25 },
  turn: { name: '64 in one turn, awaited together', inFlight: 64, isOneTurn: true, atMost: 1.2 },
};
const WHO = {
  bare: 'the same script, bare',
  reading: 'the same script, bare, in a process that reads the stream, too',
  ours: 'this package',
};

export const publishingItems = {
  publish: {
    title: 'Publishing to Redis',
    async run({ apps, load, quick, progress }) {
      const { runs, rounds, events } = quick
        ? { runs: 1, rounds: 2, events: { single: 500, flight: 2_560, turn: 2_560 } }
        : { runs: 5, rounds: 5, events: { single: 2_000, flight: 9_600, turn: 9_600 } };
      const all = new Map();
      for (let run = 0; run < runs; run += 1) {
        progress(`run ${run + 1} of ${runs}`);
        const measured = await withRedis(load, (redis) =>
          measureRun({ apps, load, redis, rounds, run, events }),
        );
        measured.forEach((list, id) => all.set(id, [...(all.get(id) ?? []), list]));
      }
      return report(all, { runs, rounds, events });
    },
  },
};

async function measureRun({ apps, load, redis, rounds, run, events }) {
  const { APPEND } = await scriptsOf(load);
  const digest = await redis.command('SCRIPT', 'LOAD', APPEND.text);
  const bare = (key, isReading) =>
    startServer(apps[12].bareRedis, { port: redis.port, key, digest, isReading });
  const servers = {
    bare: await bare('{one:topics}:events', false),
    reading: await bare('{two:topics}:events', true),
    ours: await startInstance({ apps, redis }),
  };
  const ids = Object.keys(WAYS).flatMap((way) => Object.keys(WHO).map((who) => `${who} ${way}`));
  const measure = async (id) => {
    const [who, way] = id.split(' ');
    const server = servers[who];
    const { inFlight, isOneTurn } = WAYS[way];
    const before = { redis: await cpuOf(redis), own: await server.ask('cpu') };
    const ms = await server.ask({
      task: 'throughput',
      inFlight,
      isOneTurn,
      events: events[way],
      bytes: BYTES,
    });
    return {
      us: (ms * 1_000) / events[way],
      ownUs: ((await server.ask('cpu')) - before.own) / events[way],
      redisUs: ((await cpuOf(redis)) - before.redis) / events[way],
    };
  };
  try {
    await takeTurns(ids, { rounds: 2, run, measure });
    return await takeTurns(ids, { rounds, run, measure });
  } finally {
    await Promise.all(Object.values(servers).map((server) => server.end()));
  }
}

function report(all, { runs, rounds, events }) {
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
      medianOf(of(id, 'redisUs')),
    ];
  });
  const times = new Map(Array.from(all.keys(), (id) => [id, of(id, 'us')]));
  const judged = [
    ...Object.entries(WAYS).map(([way, { atMost }]) =>
      judge(times, { of: `ours ${way}`, to: `reading ${way}`, atMost }),
    ),
    judge(times, { of: 'ours turn', to: 'ours single', atMost: 1 / 3 }),
    ...Object.keys(WAYS).map((way) => judge(times, { of: `ours ${way}`, to: `bare ${way}` })),
  ];
  const nameOf = (id) => {
    const [who, way] = id.split(' ');
    return `${WHO[who]}, ${WAYS[way].name}`;
  };
  const text = [
    `Events of ${BYTES} bytes a second, by one process: median of ${runs} runs of ${rounds} interleaved rounds (95% interval);`,
    `a round is ${Object.entries(events)
      .map(([way, count]) => `${count.toLocaleString('en')} events ${WAYS[way].name}`)
      .join('; ')}.`,
    '',
    table(['', '', 'events a second', 'CPU of the process, µs an event', 'of Redis'], rows),
    '',
    'The ratios are of time an event. One to a process that reads the stream as well is judged, since each instance does',
    'both. Several times the throughput is at least three times here.',
    '',
    verdictTable(judged, nameOf),
  ].join('\n');
  return { text, judged: judged.filter(({ atMost }) => atMost !== undefined) };
}

function medianOf(runs) {
  return median(runs.flat()).toFixed(1);
}
