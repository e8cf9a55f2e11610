/** What an event costs that many clients get. */
import { contestants, FOLLOWING } from './fan-out/contestants.mjs';
import { compare } from './fan-out/compare.mjs';
import { verdictTable } from './fan-out/verdicts.mjs';
import { median, quantile, table } from './statistics.mjs';

export const title = 'An event for many clients';

const ONE_TOPIC = { topics: 1, perClient: 1 };

export async function run({ apps, quick, progress }) {
  const all = contestants(apps);
  const load = { clients: 1_000, layout: ONE_TOPIC, turns: 1, burst: 1, bytes: 100, asks: 30 };
  const { results, judged, runs } = await compare({
    contestants: all,
    load,
    targets: targets(all),
    runs: quick ? { atLeast: 1, atMost: 1 } : { atLeast: 5, atMost: 12 },
    rounds: quick ? 2 : 4,
    progress,
  });
  const rows = Object.entries(all).map(([id, { name }]) => {
    const { costs, loadCpu } = results.get(id);
    const values = costs.filter(Boolean).map(median);
    return [
      name,
      median(values).toFixed(2),
      `${Math.min(...values).toFixed(2)} to ${Math.max(...values).toFixed(2)}`,
      `${(quantile(loadCpu, 1) * 100).toFixed(0)}%`,
    ];
  });
  return [
    table(['', 'µs', 'least to most', "load's CPU"], rows),
    '',
    `${runs} runs`,
    verdictTable(judged, (id) => all[id].name),
  ].join('\n');
}

function targets(all) {
  return [
    ...FOLLOWING.flatMap((of) => [
      { of, to: 'socket.write', atMost: 1.1 },
      { of, to: 'nchan', atMost: 1 },
      { of, to: 'better-sse', atMost: 0.55 },
      { of, to: `nest-${of.split('-')[1]}`, atMost: 0.35 },
    ]),
    ...['express', 'fastify'].map((short) => ({
      of: `subject-${short}`,
      to: `nest-${short}`,
      atMost: 0.5,
    })),
  ].filter(({ of, to }) => all[of] && all[to]);
}
