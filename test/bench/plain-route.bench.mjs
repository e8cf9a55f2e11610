/** What a route that has nothing to do with streams pays for the module. */
import { startClients, startServer } from './processes.mjs';
import { interval, median, table } from './statistics.mjs';

const SOCKETS = 16;
/** Requests until the hot code is compiled. */
const WARM_UP = 4_000;

export const title = 'A plain route, with and without the module';

/** What is compared: the routes of an app, what it has besides, and how it is called in the table. */
const APPS = [
  { name: 'no @Sse() route', routes: ['plain'] },
  { name: 'an @Sse() route', routes: ['plain', 'sse'] },
  { name: 'an @Sse() route, and an interceptor of its own', routes: ['plain', 'sse'], interceptor: true },
];

export async function run({ apps, quick, progress }) {
  const sets = quick ? 2 : 5;
  const rounds = quick ? 4 : 12;
  const requests = 500;
  const cases = [];
  for (const adapter of ['Express', 'Fastify']) {
    for (const major of [11, 12]) {
      for (const { name, ...config } of APPS) {
        cases.push({ major, name, config: { adapter, ...config }, base: [], added: [] });
      }
    }
  }
  for (let set = 0; set < sets; set += 1) {
    for (const one of cases) {
      progress(`set ${set + 1} of ${sets}, ${one.config.adapter}, Nest ${one.major}, ${one.name}`);
      const { base, added } = await compare(apps[one.major].nest, one.config, {
        rounds,
        requests,
        first: set % 2,
      });
      one.base.push(base);
      one.added.push(added);
    }
  }
  const rows = cases.map(({ config, major, name, base, added }) => {
    const [low, high] = interval(added);
    return [
      `${config.adapter}, Nest ${major}: an app with ${name}`,
      median(base.flat()).toFixed(0),
      signed(median(added.flat())),
      `${signed(low)} to ${signed(high)}`,
    ];
  });
  return [
    `CPU of the server, µs a request: ${sets} pairs of processes, ${rounds} rounds of ${requests} requests in each, with and`,
    'without in turn. The interval holds the median of the difference with a confidence of 95%.',
    '',
    table(['', 'without', 'the module adds', '95% interval'], rows),
  ].join('\n');
}

async function compare(file, config, { rounds, requests, first }) {
  const servers = await Promise.all([false, true].map((module) => startServer(file, { ...config, module })));
  const clients = await startClients();
  const request = (server, count) =>
    clients.ask({ task: 'request', port: server.port, path: '/plain', count, sockets: SOCKETS });
  for (const server of servers) {
    await request(server, WARM_UP);
  }
  const base = [];
  const added = [];
  for (let round = 0; round < rounds; round += 1) {
    const cost = [];
    // Which one is first changes: what is left of the other's garbage or heat, or of a neighbour's load, hits both.
    for (const n of (round + first) % 2 === 0 ? [0, 1] : [1, 0]) {
      const before = await servers[n].ask('cpu');
      await request(servers[n], requests);
      cost[n] = ((await servers[n].ask('cpu')) - before) / requests;
    }
    base.push(cost[0]);
    added.push(cost[1] - cost[0]);
  }
  await Promise.all([...servers, clients].map((process) => process.end()));
  return { base, added };
}

function signed(us) {
  return `${us < 0 ? '−' : '+'}${Math.abs(us).toFixed(1)}`;
}
