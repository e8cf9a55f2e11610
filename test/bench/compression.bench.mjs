/** What compression costs and saves: each event once for all clients, beside a compressor for each client. */
import {
  costsOf,
  deliver,
  endServers,
  measureRounds,
  newResult,
  QUICK,
  startAll,
  WARM_UP,
} from './fan-out/compare.mjs';
import { compressing } from './fan-out/contestants.mjs';
import { Followers } from './fan-out/followers.mjs';
import { drawCharts } from './fan-out/plot.mjs';
import { judge, verdictTable } from './fan-out/verdicts.mjs';
import { interval, median, table } from './statistics.mjs';

const ONE_TOPIC = { topics: 1, perClient: 1 };
const LOAD = { clients: 1_000, layout: ONE_TOPIC, turns: 1, burst: 1, bytes: 0 };
const KINDS = {
  tick: 'tick',
  order: 'order',
  chat: 'chunk of a chat',
  dashboard: 'dashboard',
  html: 'part of a page',
};
/** Of the CPU of uncompressed writes. */
const MAX_CPU = 1.1;
/** Of the bytes of uncompressed chunks of a chat. */
const MAX_CHAT_BYTES = 0.12;
const MIN_WARM = 0.95;
/** Clients that decode what they get. The others read the same bytes. */
const DECODING = 20;
/** So many of the shortest events are more than a block may refer to. */
const EVENTS_OF_TAIL = 40;

export const items = {
  1000: item('Compression for 1,000 clients', { ...LOAD, asks: 8 }, { runs: 2, rounds: 10 }),
  5000: item('Compression for 5,000 clients', { ...LOAD, clients: 5_000, asks: 3 }, { runs: 2, rounds: 6 }),
  alone: item(
    'Compression for one client alone',
    { ...LOAD, clients: 1, turns: 100, asks: 3 },
    { runs: 2, rounds: 6, targets: () => [] },
  ),
  memory: { title: 'Memory of a compressed stream', run: measureMemory },
  warm: { title: 'Warm blocks of 1,000 clients in step', run: countWarm },
};

function item(title, load, { runs, rounds, targets = targetsOf }) {
  return {
    title,
    async run({ apps, quick, plot, progress }) {
      const clients = quick ? Math.ceil(load.clients / 10) : load.clients;
      const contestants = compressing(apps, Math.ceil(clients / DECODING));
      const measured = await measureKinds({
        contestants,
        load: { ...load, clients },
        ...(quick ? { runs: 1, rounds: 1, warmUp: QUICK.warmUp } : { runs, rounds, warmUp: WARM_UP }),
        progress,
      });
      const judged = Object.fromEntries(
        Object.entries(measured).map(([kind, results]) => [
          kind,
          targets().map((target) => judge(costsOf(results), target)),
        ]),
      );
      const text = await report(measured, { judged, contestants, plot });
      const isMissed = load.clients > 1 && chatBytes(measured) > MAX_CHAT_BYTES;
      return { text, judged: Object.values(judged).flat(), failed: isMissed };
    },
  };
}

/** Each run has servers of its own, which take turns with each kind of events. */
async function measureKinds({ contestants, load, runs, rounds, warmUp, progress }) {
  const ids = Object.keys(contestants);
  const measured = Object.fromEntries(
    Object.keys(KINDS).map((kind) => [kind, new Map(ids.map((id) => [id, newResult()]))]),
  );
  for (let run = 0; run < runs; run += 1) {
    const servers = await startAll(ids, contestants, { ...load, kind: 'tick' }, warmUp);
    try {
      for (const [kind, results] of Object.entries(measured)) {
        progress(`run ${run + 1} of ${runs}, ${KINDS[kind]}`);
        const ofKind = { ...load, kind };
        for (const one of servers) {
          // Until all of what all have had last is of this kind.
          await deliver(one, ofKind, Math.ceil(EVENTS_OF_TAIL / load.turns));
        }
        await measureRounds(servers, { load: ofKind, rounds, run, results });
      }
    } finally {
      await endServers(servers);
    }
  }
  return measured;
}

function targetsOf() {
  return ['events', 'stream'].map((of) => ({ of, to: 'plain', atMost: MAX_CPU }));
}

async function report(measured, { judged, contestants, plot }) {
  const nameOf = (id) => contestants[id].name;
  const tables = Object.entries(measured).map(([kind, results]) =>
    [
      `**${KINDS[kind]}**, ${bytesOf(results, 'plain').toFixed(0)} bytes with HTTP's own:`,
      '',
      table(
        ['', 'bytes', 'of plain', 'CPU, µs', 'of plain (95% interval)', 'rounds'],
        Array.from(results, ([id, result]) => rowOf(id, result, results, nameOf)),
      ),
      ...(judged[kind].length > 0 ? ['', verdictTable(judged[kind], nameOf)] : []),
    ].join('\n'),
  );
  const drawn = await drawCharts(plot, chartsOf(measured), nameOf);
  const share = `${(chatBytes(measured) * 100).toFixed(1)}%`;
  return [
    'For each event that a client has had: its bytes on the wire, and CPU of the server.',
    ...tables,
    `Chunks of a chat take ${share} of the plain bytes with 'stream'; target ${MAX_CHAT_BYTES * 100}%.`,
    drawn,
  ].join('\n\n');
}

function rowOf(id, { costs }, results, nameOf) {
  const ratios = ratiosOf(costs, results.get('plain').costs);
  const bytes = bytesOf(results, id);
  return [
    nameOf(id),
    bytes.toFixed(0),
    `${((bytes / bytesOf(results, 'plain')) * 100).toFixed(0)}%`,
    median(costs.flat()).toFixed(2),
    id === 'plain'
      ? ''
      : `${median(ratios.flat()).toFixed(3)} (${interval(ratios)
          .map((value) => value.toFixed(3))
          .join(' to ')})`,
    `${costs.flat().length}`,
  ];
}

function chartsOf(measured) {
  const kinds = Object.keys(measured);
  const ids = [...measured[kinds[0]].keys()];
  const lines = (valueOf) =>
    Object.fromEntries(ids.map((id) => [id, kinds.map((kind) => valueOf(measured[kind], id))]));
  const x = kinds.map((kind) => KINDS[kind]);
  const shareOf = (results, id) => (bytesOf(results, id) / bytesOf(results, 'plain')) * 100;
  const ratioOf = (results, id) => median(ratiosOf(results.get(id).costs, results.get('plain').costs).flat());
  return [
    { title: 'Bytes by kind of event', x, y: '% of plain', lines: lines(shareOf) },
    { title: 'CPU by kind of event', x, y: 'CPU, of plain', lines: lines(ratioOf) },
  ];
}

function ratiosOf(costs, plain) {
  return costs.map((rounds, run) => rounds.map((cost, n) => cost / plain[run][n]));
}

function bytesOf(results, id) {
  return median(results.get(id).bytes);
}

function chatBytes({ chat: results }) {
  return bytesOf(results, 'stream') / bytesOf(results, 'plain');
}

/** What a stream takes when it has had some events, by the server's heap and by the kernel. */
async function measureMemory({ apps, quick, progress }) {
  const clients = quick ? 200 : 1_000;
  const runs = quick ? 1 : 3;
  const load = { ...LOAD, clients, kind: 'dashboard' };
  const contestants = Object.entries(compressing(apps));
  const kilobytes = new Map(contestants.map(([id]) => [id, { rss: [], heap: [] }]));
  for (let run = 0; run < runs; run += 1) {
    for (const [id, contestant] of contestants) {
      progress(`run ${run + 1} of ${runs}, ${contestant.name}`);
      const { rss, heap } = await memoryOf(contestant, load);
      kilobytes.get(id).rss.push(rss);
      kilobytes.get(id).heap.push(heap);
    }
  }
  const spread = (list) =>
    `${median(list).toFixed(1)} (${Math.min(...list).toFixed(1)} to ${Math.max(...list).toFixed(1)})`;
  return [
    `KB a stream, with ${clients} open that have had 40 events of a dashboard: median of ${runs} interleaved runs (least to most).`,
    '',
    table(
      ['', 'RSS, KB', 'heap and what it holds outside, KB'],
      contestants.map(([id, { name }]) => [
        name,
        spread(kilobytes.get(id).rss),
        spread(kilobytes.get(id).heap),
      ]),
    ),
  ].join('\n');
}

async function memoryOf(contestant, load) {
  const server = await contestant.start(ONE_TOPIC);
  // What the first streams make a process load and compile is not theirs alone, and so are the log's events.
  const first = await openAll(contestant, server, 100);
  await deliver({ server, followers: first }, { ...load, clients: 100 }, 400);
  const before = await server.ask('memory');
  const followers = await openAll(contestant, server, load.clients);
  await first.end();
  await deliver({ server, followers }, load, 40);
  const after = await server.ask('memory');
  await Promise.all([server.end(), followers.end()]);
  const each = (name) => (after[name] - before[name]) / (load.clients - 100) / 1_024;
  return { rss: each('rss'), heap: each('heap') };
}

function openAll(contestant, { port }, count) {
  return Followers.open({ port, contestant, layout: ONE_TOPIC, count });
}

/** Which of the blocks that clients get refer to those before them. */
async function countWarm({ apps, quick }) {
  const { stream } = compressing(apps);
  const load = { ...LOAD, clients: quick ? 100 : 1_000 };
  const server = await stream.start(ONE_TOPIC);
  const followers = await openAll(stream, server, load.clients);
  const rows = [];
  let failed = false;
  for (const kind of Object.keys(KINDS)) {
    await deliver({ server, followers }, { ...load, kind }, EVENTS_OF_TAIL);
    await followers.all('chunks');
    await deliver({ server, followers }, { ...load, kind }, 50);
    const counts = await followers.all('chunks');
    const all = counts.reduce((sum, one) => sum + one.all, 0);
    const warm = counts.reduce((sum, one) => sum + one.warm, 0);
    failed ||= warm / all < MIN_WARM;
    rows.push([KINDS[kind], `${all}`, `${((warm / all) * 100).toFixed(1)}%`]);
  }
  await Promise.all([server.end(), followers.end()]);
  const text = [
    `Blocks that cannot be decoded by themselves, of 50 events to ${load.clients} clients; target ${MIN_WARM * 100}%.`,
    '',
    table(['', 'blocks', 'warm'], rows),
  ].join('\n');
  return { text, failed };
}
