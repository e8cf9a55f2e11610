/** Clients that come back all at once, each of which has missed some events. */
import { median, table } from '../statistics.mjs';
import { contestants } from './contestants.mjs';
import { deliver } from './compare.mjs';
import { Followers } from './followers.mjs';
import { judge, verdictTable } from './verdicts.mjs';

const LAYOUT = { topics: 1, perClient: 1 };
const BYTES = 100;
const NAMES = {
  'connect-fastify': 'this package, replay by connect(), Fastify',
  'sse-express': 'this package, replay by @Sse(), Express',
  live1: 'better-sse, live, an event a turn',
  live10: 'better-sse, live, ten events a turn',
};

export const stormItems = {
  storm: item({ clients: 10_000, missed: 100 }),
  'storm-1000': item({ clients: 1_000, missed: 1_000 }),
};

function item({ clients, missed }) {
  const title = `Reconnect storm: ${clients.toLocaleString('en')} clients that missed ${missed.toLocaleString('en')} events each`;
  return {
    title,
    async run({ apps, quick, progress }) {
      const all = contestants(apps);
      const count = quick ? clients / 10 : clients;
      const runs = quick ? 1 : 5;
      const results = new Map(Object.keys(NAMES).map((id) => [id, []]));
      for (let run = 0; run < runs; run += 1) {
        progress(`run ${run + 1} of ${runs}`);
        for (const id of ['connect-fastify', 'sse-express']) {
          results.get(id).push(await replay(all[id], count, missed));
        }
        const [live1, live10] = await sendLive(all['better-sse'], count, missed);
        results.get('live1').push(live1);
        results.get('live10').push(live10);
      }
      return report(results, count, missed);
    },
  };
}

/** From the first client's request to the last one's last event. */
async function replay(contestant, count, missed) {
  const server = await contestant.start(LAYOUT);
  await warmUp(server, contestant);
  const position = await server.ask('position');
  await server.ask({ task: 'publish', turns: missed / 10, burst: 10, bytes: BYTES });
  const followers = await Followers.start(count);
  const measured = await timed(server, async () => {
    await followers.open({ port: server.port, contestant, layout: LAYOUT, lastEventId: position });
    await followers.reached({ each: missed });
  });
  await Promise.all([server.end(), followers.end()]);
  return measured;
}

/** A few clients that come back: what they load and compile is not the storm's. */
async function warmUp(server, contestant) {
  const position = await server.ask('position');
  await server.ask({ task: 'publish', turns: 1, burst: 10, bytes: BYTES });
  const options = { port: server.port, contestant, layout: LAYOUT, count: 500, lastEventId: position };
  const followers = await Followers.open(options);
  await followers.reached({ each: 10 });
  await followers.end();
}

/** From the first event to the last client's last one; the clients are there already. */
async function sendLive(contestant, count, missed) {
  const server = await contestant.start(LAYOUT);
  const followers = await Followers.open({ port: server.port, contestant, layout: LAYOUT, count });
  const load = { turns: 1, burst: 1, bytes: BYTES, layout: LAYOUT, clients: count };
  await deliver({ server, followers }, load, Math.ceil(40_000 / count));
  const measured = [];
  for (const burst of [1, 10]) {
    measured.push(
      await timed(server, () => deliver({ server, followers }, { ...load, turns: missed / burst, burst }, 1)),
    );
  }
  await Promise.all([server.end(), followers.end()]);
  return measured;
}

async function timed(server, task) {
  const before = await server.ask('cpu');
  const begin = performance.now();
  await task();
  const ms = performance.now() - begin;
  return { ms, cpuMs: ((await server.ask('cpu')) - before) / 1_000 };
}

function report(results, count, missed) {
  const ms = (id) => results.get(id).map((result) => result.ms);
  const rows = Array.from(results, ([id, values]) => [
    NAMES[id],
    `${median(ms(id)).toFixed(0)} ms`,
    `${Math.min(...ms(id)).toFixed(0)} to ${Math.max(...ms(id)).toFixed(0)}`,
    `${median(values.map(({ cpuMs }) => cpuMs)).toFixed(0)} ms`,
  ]);
  const costs = new Map(Array.from(results.keys(), (id) => [id, ms(id).map((value) => [value])]));
  const judged = ['connect-fastify', 'sse-express'].flatMap((of) =>
    ['live1', 'live10'].map((to) => judge(costs, { of, to, atMost: 1 })),
  );
  const text = [
    `${count.toLocaleString('en')} clients, ${missed.toLocaleString('en')} events of ${BYTES} bytes each: until every client has all of them. A replay`,
    'begins with the requests of the clients; what is sent live finds them connected.',
    '',
    table(['', 'time until whole', 'least to most', "the server's CPU"], rows),
    '',
    verdictTable(judged, (id) => NAMES[id]),
  ].join('\n');
  return { text, judged };
}
