/** What it costs to publish what nobody gets. */
import { median, table } from '../statistics.mjs';
import { contestants } from './contestants.mjs';
import { Followers } from './followers.mjs';

const ONE_TOPIC = { topics: 1, perClient: 1 };
const MANY_TOPICS = { topics: 10_000, perClient: 20 };
const EVENTS = 20_000;

const CASES = [
  { name: 'bare, a chunk that is made and written to nobody', id: 'socket.write' },
  { name: 'Nest alone, a Subject that nobody subscribes to', id: 'nest-fastify' },
  { name: 'better-sse, a channel without sessions', id: 'better-sse' },
  { name: 'this package, nobody follows anything', id: 'connect-fastify' },
  {
    name: 'this package, beside 100,000 followers of 10,000 other topics',
    id: 'connect-fastify',
    layout: MANY_TOPICS,
    clients: 5_000,
  },
];

export const publishItems = {
  publish: {
    title: 'Publishing to nobody',
    async run({ apps, quick, progress }) {
      const all = contestants(apps);
      const runs = quick ? 1 : 5;
      const cases = CASES.map((one) => ({ ...one, alone: [], burst: [] }));
      for (let run = 0; run < runs; run += 1) {
        for (const one of cases) {
          progress(`run ${run + 1} of ${runs}, ${one.name}`);
          const [alone, burst] = await measureOnce(all[one.id], one);
          one.alone.push(alone);
          one.burst.push(burst);
        }
      }
      const rows = cases.map(({ name, alone, burst }) => [name, spread(alone), spread(burst)]);
      return [
        `CPU of the server, µs an event of 100 bytes: median of ${runs} interleaved runs of ${EVENTS.toLocaleString('en')} events (least to most).`,
        '',
        table(['', 'one a turn, awaited', 'ten a turn'], rows),
      ].join('\n');
    },
  },
};

async function measureOnce(contestant, { layout = ONE_TOPIC, clients = 0 }) {
  const server = await contestant.start(layout);
  const options = { port: server.port, contestant, layout, count: clients };
  const followers = await Followers.open(options);
  // Only where there are followers: a topic without any is the only one elsewhere.
  const isForNobody = clients > 0;
  const costs = [];
  for (const burst of [1, 10]) {
    const task = { task: 'publish', turns: EVENTS / burst, burst, bytes: 100, isForNobody };
    await server.ask(task);
    const before = await server.ask('cpu');
    await server.ask(task);
    costs.push(((await server.ask('cpu')) - before) / EVENTS);
  }
  await Promise.all([server.end(), followers.end()]);
  return costs;
}

function spread(values) {
  return `${median(values).toFixed(1)} (${Math.min(...values).toFixed(1)} to ${Math.max(...values).toFixed(1)})`;
}
