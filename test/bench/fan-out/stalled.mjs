/** What clients that read nothing cost the others, and the process. */
import { median, quantile, table } from '../statistics.mjs';
import { deliver, EVENTS_A_ROUND, measure } from './compare.mjs';
import { contestants } from './contestants.mjs';
import { Followers } from './followers.mjs';
import { isUndecided, judge, verdictTable } from './verdicts.mjs';

const LAYOUT = { topics: 1, perClient: 1 };
const CLIENTS = 1_000;
const STALLED = CLIENTS / 100;
const LOAD = {
  clients: CLIENTS - STALLED,
  layout: LAYOUT,
  turns: 1,
  burst: 1,
  bytes: 100,
  asks: EVENTS_A_ROUND,
};
/** A client that reads nothing is closed after a minute; here it is to stay. */
const OPTIONS = { maxLagMs: 86_400_000 };
const STYLES = { 'connect-fastify': 'connect(), Fastify', 'sse-express': '@Sse(), Express' };
const TARGETS = Object.keys(STYLES).flatMap((style) =>
  ['cpu', 'p99'].map((what) => ({ of: `${style} ${what} stalled`, to: `${style} ${what}`, atMost: 1.05 })),
);

export const stalledItems = {
  stalled: { title: '1% of 1,000 clients stalled', run },
  flat: { title: 'Memory while clients are stalled', run: measureMemory },
};

async function run({ apps, quick, progress }) {
  const all = contestants(apps);
  const { atLeast, atMost } = quick ? { atLeast: 1, atMost: 1 } : { atLeast: 5, atMost: 15 };
  const costs = new Map(TARGETS.flatMap(({ of, to }) => [of, to]).map((key) => [key, []]));
  let styles = Object.keys(STYLES);
  let run = 0;
  for (; run < atMost && styles.length > 0; run += 1) {
    for (const style of styles) {
      progress(`run ${run + 1} of ${atMost} at most, ${STYLES[style]}`);
      await compareOnce(all[style], style, run, { costs, rounds: quick ? 4 : 16 });
    }
    if (run + 1 >= atLeast) {
      const open = TARGETS.filter((target) => isUndecided(judge(costs, target)));
      styles = styles.filter((style) => open.some(({ of }) => of.startsWith(style)));
    }
  }
  const judged = TARGETS.map((target) => judge(costs, target));
  const name = (key) => `${STYLES[key.split(' ')[0]]}, ${key.split(' ').slice(1).join(', ')}`;
  const rows = Array.from(costs, ([key, values]) => {
    const flat = values.flat();
    const unit = key.includes('p99') ? 'ms' : 'µs';
    return [
      name(key),
      `${median(flat).toFixed(2)} ${unit}`,
      `${Math.min(...flat).toFixed(2)} to ${Math.max(...flat).toFixed(2)}`,
    ];
  });
  const text = [
    `${CLIENTS - STALLED} clients that read, with ${STALLED} others that do not, and without. CPU of the server for each event that a`,
    'client has had, and the delay from publish to client that 1% of them exceed.',
    '',
    table(['', 'median', 'least to most'], rows),
    '',
    verdictTable(judged, name),
  ].join('\n');
  return { text, judged };
}

/** Two servers at once, in turn: one has stalled clients besides. */
async function compareOnce(contestant, style, run, { costs, rounds }) {
  const servers = [];
  for (const stalled of [0, STALLED]) {
    servers.push(await start(contestant, stalled, LOAD.clients));
  }
  const keys = servers.map(({ stalled }) => (stalled ? ' stalled' : ''));
  for (const what of ['cpu', 'p99']) {
    keys.forEach((key) => (costs.get(`${style} ${what}${key}`)[run] = []));
  }
  for (const one of servers) {
    await deliver(one, LOAD, 40);
    await one.followers.all('measureDelays');
  }
  for (let round = 0; round < rounds; round += 1) {
    for (const n of (round + run) % 2 === 0 ? [0, 1] : [1, 0]) {
      const { cost } = await measure(servers[n], LOAD);
      // Without the first event's, which finds cold caches.
      const delays = (await servers[n].followers.all('takeDelays')).flat().slice(LOAD.clients);
      costs.get(`${style} cpu${keys[n]}`)[run].push(cost);
      costs.get(`${style} p99${keys[n]}`)[run].push(quantile(delays, 0.99) / 1_000);
    }
  }
  await Promise.all(servers.map(end));
}

async function start(contestant, stalled, clients) {
  const server = await contestant.start(LAYOUT, OPTIONS);
  const { port } = server;
  const stalling = await Followers.open({
    port,
    contestant,
    layout: LAYOUT,
    client: 'filled',
    count: stalled,
    stall: true,
  });
  while ((await server.ask('lagging')) < stalled) {
    await server.ask('fill');
  }
  const followers = await Followers.open({ port, contestant, layout: LAYOUT, count: clients });
  return { contestant, stalled, server, followers, stalling };
}

/** Those that have read all are told so by their sockets, a moment later. */
async function expectLagging(server, count) {
  for (let looks = 0; ; looks += 1) {
    const lagging = await server.ask('lagging');
    if (lagging === count) {
      return;
    }
    if (looks === 100) {
      throw new Error(`${lagging} clients lag, not ${count}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function end({ server, followers, stalling }) {
  return Promise.all([server.end(), followers.end(), stalling.end()]);
}

/** A million events, for as many clients that read as that do not. */
async function measureMemory({ apps, quick, progress }) {
  const events = quick ? 200_000 : 1_000_000;
  const samples = 10;
  const one = await start(contestants(apps)['connect-fastify'], STALLED, STALLED);
  const load = { ...LOAD, clients: STALLED, turns: 100, burst: 10 };
  const memory = [];
  for (let sample = 0; sample <= samples; sample += 1) {
    progress(`${sample} of ${samples}`);
    if (sample > 0) {
      await deliver(one, load, events / samples / 1_000);
    }
    memory.push(await one.server.ask('memory'));
  }
  await expectLagging(one.server, STALLED);
  await end(one);
  const mb = (bytes) => (bytes / 2 ** 20).toFixed(1);
  // The log keeps the last 100,000 events, so it is full after the first tenth of a million.
  const full = memory.slice(quick ? 6 : 2);
  const growth = full.at(-1).heap / full[0].heap;
  const verdict = growth <= 1.05 ? 'met' : 'missed';
  const text = [
    `${events.toLocaleString('en')} events, of which ${STALLED} clients read all and ${STALLED} read none. MB of the server, after garbage was collected:`,
    '',
    table(
      ['events', ...memory.map((_, n) => ((events * n) / samples).toLocaleString('en'))],
      [
        ['heap', ...memory.map(({ heap }) => mb(heap))],
        ['RSS', ...memory.map(({ rss }) => mb(rss))],
      ],
    ),
    '',
    `From when the log is full to the end the heap grew by a factor of ${growth.toFixed(3)} (target: at most 1.05): ${verdict}.`,
  ].join('\n');
  return { text, judged: [{ verdict }] };
}
