/** What one delivered event costs: the work items that differ in how many clients, events and topics there are. */
import { median, quantile, table } from '../statistics.mjs';
import { compare, EVENTS_A_ROUND, QUICK } from './compare.mjs';
import { contestants, FOLLOWING, withAndWithoutKeys } from './contestants.mjs';
import { maxFiles } from './nchan.mjs';
import { verdictTable } from './verdicts.mjs';

const ONE_TOPIC = { topics: 1, perClient: 1 };
const LOAD = { clients: 1_000, layout: ONE_TOPIC, turns: 1, burst: 1, bytes: 100 };
/** The files that a server has open besides its clients' sockets. */
const OTHER_FILES = 100;
/** To the hundred: the clients are divided. */
const LARGE = Math.min(20_000, Math.floor((maxFiles() - OTHER_FILES) / 100) * 100);

export const oneEventItems = {
  1000: item(
    'One event of 100 bytes to 1,000 followers',
    { ...LOAD, asks: EVENTS_A_ROUND },
    { targets: liveTargets },
  ),
  5000: item(
    'One event of 100 bytes to 5,000 followers',
    { ...LOAD, clients: 5_000, asks: 3 },
    { atLeast: 3, targets: liveTargets },
  ),
  20000: item(
    `One event of 100 bytes to ${LARGE.toLocaleString('en')} followers`,
    { ...LOAD, clients: LARGE, asks: 2 },
    {
      atLeast: 2,
      atMost: 4,
      rounds: 4,
      targets: liveTargets,
      // Each has 20,000 sockets, and its clients as many.
      only: [
        'socket.write',
        'better-sse',
        'nchan',
        'nest-fastify',
        'subject-fastify',
        'connect-fastify',
        'sse-fastify',
      ],
    },
  ),
  bursts: item(
    'Ten events of 100 bytes in one turn, to 1,000 followers',
    { ...LOAD, burst: 10, asks: 5 },
    { atLeast: 3, targets: () => FOLLOWING.map((of) => ({ of, to: 'joined', atMost: 1.25 })) },
  ),
  large: item(
    'One event of 1,000 bytes to 1,000 followers',
    { ...LOAD, bytes: 1_000, asks: EVENTS_A_ROUND },
    { atLeast: 3, targets: liveTargets },
  ),
  limits: item(
    'One event of 100 bytes to 1,000 followers, with keys and limits, and without',
    { ...LOAD, asks: EVENTS_A_ROUND },
    {
      who: withAndWithoutKeys,
      atLeast: 3,
      atMost: 6,
      rounds: 12,
      targets: () => [{ of: 'keys-fastify', to: 'connect-fastify', atMost: 1.03 }],
    },
  ),
  topics: item(
    '10,000 topics with ten followers each: 5,000 clients that follow 20 each',
    { ...LOAD, clients: 5_000, layout: { topics: 10_000, perClient: 20 }, turns: 100, asks: 20 },
    { atLeast: 3, targets: liveTargets, without: ['joined', '@fastify/sse', 'fastify-sse-v2'] },
  ),
};

function liveTargets() {
  return [
    ...FOLLOWING.flatMap((of) => [
      { of, to: 'socket.write', atMost: 1.1 },
      { of, to: 'nchan', atMost: 1 },
      { of, to: 'better-sse', atMost: 0.55 },
      { of, to: `nest-${of.split('-')[1]}`, atMost: 0.35 },
    ]),
    ...['express', 'fastify'].map((short) => ({ of: `subject-${short}`, to: `nest-${short}`, atMost: 0.5 })),
    ...LIMITS,
  ];
}

/** What the limit of Node would reach of the same targets. */
const LIMITS = ['nchan', 'better-sse', 'nest-express', 'nest-fastify'].map((to) => ({
  of: 'socket.write',
  to,
}));

function item(
  title,
  load,
  { who = contestants, atLeast = 5, atMost = 10, rounds = 6, targets, only, without = [] },
) {
  return {
    title,
    async run({ apps, quick, progress }) {
      const all = who(apps);
      const ids = Object.keys(all).filter((id) => (only?.includes(id) ?? true) && !without.includes(id));
      const compared = Object.fromEntries(ids.map((id) => [id, all[id]]));
      const result = await compare({
        contestants: compared,
        load: quick ? quickened(load) : load,
        targets: targets().filter(({ of, to }) => compared[of] && compared[to]),
        ...(quick ? QUICK : { runs: { atLeast, atMost }, rounds }),
        progress,
      });
      return report(compared, result);
    },
  };
}

/** A tenth of the clients, where there are thousands. */
function quickened(load) {
  const tenth = load.clients > 1_000 ? 10 : 1;
  const { topics, perClient } = load.layout;
  const layout = topics === 1 ? load.layout : { topics: topics / tenth, perClient };
  return { ...load, clients: load.clients / tenth, layout };
}

function report(compared, { results, judged, runs }) {
  const rows = Object.entries(compared).map(([id, { name, isOurs }]) => {
    const { costs, writes } = results.get(id);
    const values = costs.flat().filter(Number.isFinite);
    return [
      name,
      median(values).toFixed(2),
      `${Math.min(...values).toFixed(2)} to ${Math.max(...values).toFixed(2)}`,
      `${values.length}`,
      isOurs ? `${(share(writes) * 100).toFixed(1)}%` : '',
    ];
  });
  const loadCpu = quantile(Array.from(results.values(), (result) => result.loadCpu).flat(), 1);
  const indirect = Object.keys(compared).filter(
    (id) => compared[id].isOurs && share(results.get(id).writes) <= 0.99,
  );
  const text = [
    'CPU of the server, µs for each event that a client has had.',
    '',
    table(['', 'median', 'least to most', 'rounds', 'direct writes'], rows),
    '',
    verdictTable(judged, (id) => compared[id].name),
    '',
    `${runs} runs, each with processes of its own. Every event was counted at every client. A process of clients was`,
    `busy for ${(loadCpu * 100).toFixed(0)}% of a core at most: the load was not the limit.`,
    ...indirect.map((id) => `**Of ${compared[id].name}, less than 99% of the writes are direct.**`),
  ].join('\n');
  return { text, judged, failed: indirect.length > 0 || loadCpu > 0.95 };
}

function share({ direct, throughResponse }) {
  return direct / (direct + throughResponse);
}
