/** How the cost of a delivered event grows: with connections, with topics, with events per second. As a picture, too. */
import { median, table } from '../statistics.mjs';
import { compare, deliver, deliveriesOf, EVENTS_A_ROUND, QUICK } from './compare.mjs';
import { contestants } from './contestants.mjs';
import { Followers } from './followers.mjs';
import { drawCharts } from './plot.mjs';

const ONE_TOPIC = { topics: 1, perClient: 1 };
const LOAD = { clients: 1_000, layout: ONE_TOPIC, turns: 1, burst: 1, bytes: 100 };
/** Deliveries in a round, where there are as many clients. */
const DELIVERIES = 20_000;
const QUICK_IDS = ['socket.write', 'connect-fastify', 'better-sse'];
const IDS = [
  'socket.write',
  'connect-fastify',
  'sse-express',
  'nchan',
  'better-sse',
  'nest-fastify',
  'nest-express',
];

export const growthItems = { growth: { title: 'How the cost grows', run } };

async function run({ apps, quick, plot, progress }) {
  const all = contestants(apps);
  const ids = (quick ? QUICK_IDS : IDS).filter((id) => all[id]);
  const pick = (without = []) =>
    Object.fromEntries(ids.filter((id) => !without.includes(id)).map((id) => [id, all[id]]));
  const steps = (list) => (quick ? [list[0], list[2]] : list);
  const charts = [];

  const clients = steps([100, 300, 1_000, 3_000, 10_000]);
  charts.push({
    title: 'connections',
    x: clients,
    lines: await measureEach(clients, pick(), quick, progress, (count) => ({ ...LOAD, clients: count })),
  });

  const topics = steps([100, 1_000, 10_000, 30_000, 100_000]);
  charts.push({
    title: 'topics, of ten followers each, on 1,000 connections',
    x: topics,
    // nchan takes 255 topics for a connection at most.
    lines: await measureEach(topics, pick(['nchan']), quick, progress, (count) => ({
      ...LOAD,
      layout: { topics: count, perClient: count / 100 },
      turns: 100,
    })),
  });

  const rates = steps([2, 5, 10, 20, 30]);
  charts.push({
    title: 'events per second, to 1,000 connections',
    x: rates,
    lines: await measureRates(rates, pick(), progress),
  });

  const described = charts.map((chart) => ({
    ...chart,
    title: `By ${chart.title}`,
    y: 'CPU, µs for each delivered event',
  }));
  const drawn = await drawCharts(plot, described, (id) => all[id].name);
  const parts = charts.map(({ title, x, lines }) => {
    const rows = Object.entries(lines).map(([id, costs]) => [
      all[id].name,
      ...costs.map((cost) => cost.toFixed(2)),
    ]);
    return `By ${title}:\n\n${table(['', ...x.map((value) => value.toLocaleString('en'))], rows)}`;
  });
  return ['CPU of the server, µs for each event that a client has had.', ...parts, drawn].join('\n\n');
}

async function measureEach(steps, compared, quick, progress, loadOf) {
  const lines = Object.fromEntries(Object.keys(compared).map((id) => [id, []]));
  for (const step of steps) {
    const load = loadOf(step);
    const { results } = await compare({
      contestants: compared,
      load: { ...load, asks: clamp(Math.round(DELIVERIES / deliveriesOf(load)), 2, EVENTS_A_ROUND) },
      targets: [],
      ...QUICK,
      // What few clients get is soon over.
      ...(quick ? {} : { rounds: load.clients < 1_000 ? 9 : 3, warmUp: undefined }),
      progress: (text) => progress(`${step}: ${text}`),
    });
    for (const [id, { costs }] of results) {
      lines[id].push(median(costs.flat()));
    }
  }
  return lines;
}

/** Events at a steady pace, whether the last one has arrived or not. */
async function measureRates(rates, compared, progress) {
  const lines = {};
  for (const [id, contestant] of Object.entries(compared)) {
    const server = await contestant.start(ONE_TOPIC);
    const one = {
      server,
      followers: await Followers.open({
        port: server.port,
        contestant,
        layout: ONE_TOPIC,
        count: LOAD.clients,
      }),
    };
    await deliver(one, LOAD, 40);
    lines[id] = [];
    for (const rate of rates) {
      progress(`${rate} events per second, ${contestant.name}`);
      const turns = Math.max(4, rate * 2);
      const before = await server.ask('cpu');
      await deliver(one, { ...LOAD, turns, everyMs: 1_000 / rate }, 1);
      lines[id].push(((await server.ask('cpu')) - before) / (turns * LOAD.clients));
    }
    await Promise.all([server.end(), one.followers.end()]);
  }
  return lines;
}

function clamp(value, least, most) {
  return Math.min(most, Math.max(least, value));
}
