/** What a log takes in Redis, and how much one carries. */
import { interval, median, table } from '../statistics.mjs';
import { cpuOf, startInstance, thousands, withRedis } from './servers.mjs';

const SIZES = [100, 1_000];
const LAYOUT = { topics: 10_000, perClient: 1 };
/** Instances of an app, all of which publish, and read all that any of them publishes. */
const INSTANCES = [1, 2, 4];
const WAYS = [
  { name: 'one by one, 16 in flight', inFlight: 16, isOneTurn: false },
  { name: '100 in one turn', inFlight: 100, isOneTurn: true },
];

export const sizeItems = {
  size: {
    title: 'What a log takes in Redis',
    async run({ apps, load, quick, progress }) {
      const events = quick ? 20_000 : 100_000;
      const rows = [];
      for (const bytes of SIZES) {
        progress(`events of ${bytes} bytes`);
        rows.push(await withRedis(load, (redis) => measureSize({ apps, redis, events, bytes })));
      }
      return [
        `${thousands(events)} events of topics such as \`topics.1234\`, by MEMORY USAGE; beside it what Redis says that all its data`,
        'took, the other keys included (used_memory_dataset). A letter more of the topic or the type is a byte more.',
        '',
        table(
          ['data', 'bytes an event', 'besides its data', 'of all data, an event', 'the other keys'],
          rows,
        ),
      ].join('\n');
    },
  },
  capacity: {
    title: 'Events that one log carries',
    async run({ apps, load, quick, progress }) {
      const { runs, events } = quick ? { runs: 1, events: 4_000 } : { runs: 3, events: 24_000 };
      const carried = [];
      for (let run = 0; run < runs; run += 1) {
        for (const instances of INSTANCES) {
          progress(`run ${run + 1} of ${runs}, ${instances} instances`);
          carried.push(
            ...(await withRedis(load, (redis) => measureCapacity({ apps, redis, instances, events }))),
          );
        }
      }
      return reportCapacity(carried, runs);
    },
  },
};

async function measureSize({ apps, redis, events, bytes }) {
  const publisher = await startInstance({ apps, redis, layout: LAYOUT, log: { maxEvents: 10 * events } });
  try {
    const before = await usedMemory(redis);
    await publisher.ask({ task: 'publishMany', events, bytes });
    const used = (await usedMemory(redis)) - before;
    const [, keys] = await redis.command('SCAN', '0', 'COUNT', 100_000);
    const sizes = await Promise.all(keys.map((key) => redis.command('MEMORY', 'USAGE', key, 'SAMPLES', 0)));
    const of = (part) => keys.findIndex((key) => key.includes(part));
    const stream = sizes[of('}:events')] / events;
    const publishes = keys.filter((key) => key.includes('}:publish:')).length;
    return [
      `${thousands(bytes)} bytes`,
      stream.toFixed(0),
      (stream - bytes).toFixed(0),
      (used / events).toFixed(0),
      `meta ${sizes[of('}:meta')]} bytes; of each request to publish, for 10 s, ${sizes[of('}:publish:')]} (${publishes} of them here)`,
    ];
  } finally {
    await publisher.end();
  }
}

async function usedMemory(redis) {
  return Number((await redis.info('memory')).used_memory_dataset);
}

/** As fast as they can, on this machine, which Redis shares with them. */
async function measureCapacity({ apps, redis, instances, events }) {
  const starting = Array.from({ length: instances }, () => startInstance({ apps, redis, layout: LAYOUT }));
  const servers = await Promise.all(starting);
  const results = [];
  try {
    for (const way of WAYS) {
      const task = { task: 'throughput', ...way, events: Math.ceil(events / instances), bytes: 100 };
      await Promise.all(servers.map((server) => server.ask({ ...task, events: 2_000 })));
      const cpu = await cpuOf(redis);
      const begin = performance.now();
      await Promise.all(servers.map((server) => server.ask(task)));
      const seconds = (performance.now() - begin) / 1_000;
      const count = task.events * instances;
      results.push({
        key: `${instances} ${way.name}`,
        perSecond: count / seconds,
        redisUs: ((await cpuOf(redis)) - cpu) / count,
      });
    }
  } finally {
    await Promise.all(servers.map((server) => server.end()));
  }
  return results;
}

function reportCapacity(carried, runs) {
  const by = (list, key) => list.filter((one) => one.key === key);
  const say = (values, digits) => {
    const [low, high] = interval(values.map((value) => [value]));
    const format = (value) => (digits === undefined ? thousands(value) : value.toFixed(digits));
    return `${format(median(values))} (${format(low)} to ${format(high)})`;
  };
  const rows = INSTANCES.flatMap((instances) =>
    WAYS.map(({ name }) => {
      const list = by(carried, `${instances} ${name}`);
      return [
        `${instances} ${instances === 1 ? 'instance' : 'instances'}, each ${name}`,
        say(list.map(({ perSecond }) => perSecond)),
        say(
          list.map(({ redisUs }) => redisUs),
          1,
        ),
        thousands(1_000_000 / median(list.map(({ redisUs }) => redisUs))),
      ];
    }),
  );
  return [
    `Events of 100 bytes: median of ${runs} interleaved runs (95% interval). All instances read all events. They share the cores with Redis,`,
    "so the first figure is this machine's; the last is what Redis would carry with a core of its own.",
    '',
    table(['', 'events a second', 'CPU of Redis, µs an event', 'so one core carries'], rows),
  ].join('\n');
}
