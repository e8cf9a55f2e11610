/** What an open stream that is idle costs in memory. */
import { judge, verdictTable } from './fan-out/verdicts.mjs';
import { startClients, startServer } from './processes.mjs';
import { median, table } from './statistics.mjs';

/** So short that each stream has had some before the memory is read: what a heartbeat allocates counts. */
const HEARTBEAT_MS = 300;
const KINDS = ['heap', 'rss'];
/** Of a follower of one topic, besides its connection. */
const MAX_FOLLOWER_BYTES = 200;
/** Of a member with a name, besides a follower: the guide says 800, and the log in memory keeps records. */
const MAX_MEMBER_BYTES = 1_000;

export const title = 'Memory of an idle stream';

export async function run({ apps, quick, progress }) {
  const streams = quick ? 1_000 : 3_000;
  const runs = quick ? 1 : 5;
  const cases = casesOf(apps[12], streams);
  for (let n = 0; n < runs; n += 1) {
    for (const one of cases) {
      progress(`run ${n + 1} of ${runs}, ${one.name}`);
      const { rss, heap } = await measureOnce(one, streams);
      one.rss.push(rss);
      one.heap.push(heap);
    }
  }
  const rows = cases.map(({ name, rss, heap }) => [name, spread(rss), spread(heap)]);
  const judged = KINDS.flatMap((kind) => judgeKind(cases, kind));
  const nameOf = (key) => `${kindOf(key)} of ${cases.find(({ id }) => key.startsWith(`${id} `)).name}`;
  const followers = cases.filter(({ id }) => /-(follow|own) /.test(id));
  const text = [
    `KB a stream, with ${streams} open on HTTP/1.1 and Nest 12: median of ${runs} interleaved runs (least to most).`,
    "Heap is V8's and what it holds outside; RSS is the process's growth, the sockets' memory in the kernel not included.",
    '',
    table(['', 'RSS, KB', 'heap, KB'], rows),
    '',
    verdictTable(judged, nameOf),
    '',
    ...followers.map((one) => sayBookkeeping(one, cases)),
    sayMember(cases),
  ].join('\n');
  return { text, judged };
}

/** In an id, the style and its adapter stand first: `sse-follow Express`. */
function casesOf({ nodeHttp, nest }, streams) {
  const ownTopic = { options: { heartbeatMs: HEARTBEAT_MS }, topics: streams };
  return [
    { id: 'node', name: 'node:http, a response that is held', file: nodeHttp, paths: ['/'] },
    ...['Express', 'Fastify'].flatMap((adapter) => [
      app(adapter, 'held', 'plain Nest, @Get() + @Res(), a response that is held', false),
      app(adapter, 'sse', 'plain Nest, @Sse()', false),
      app(adapter, 'connect', 'this module, connect()', true),
      app(adapter, 'sse', 'this module, @Sse()', true),
      app(adapter, 'connect-follow', 'this module, connect() and follow() of one topic', true),
      app(adapter, 'sse-follow', 'this module, @Sse() and follow() of one topic', true),
    ]),
    {
      ...app(
        'Fastify',
        'connect-follow',
        'this module, connect() and follow() of a topic of its own',
        true,
        ownTopic,
      ),
      id: 'connect-own Fastify',
      paths: Array.from({ length: streams }, (_, n) => `/connect-follow?client=${n}`),
    },
    {
      ...app('Fastify', 'member', 'this module, connect() and follow() of one topic with presence', true),
      paths: Array.from({ length: streams }, (_, n) => `/member?client=${n}`),
    },
  ].map((one) => ({ ...one, rss: [], heap: [] }));

  function app(adapter, route, what, module, more = { options: { heartbeatMs: HEARTBEAT_MS } }) {
    return {
      id: `${module ? '' : 'nest-'}${route} ${adapter}`,
      name: `${adapter}: ${what}`,
      file: nest,
      config: { adapter, module, routes: [route], ...more },
      paths: [`/${route}`],
      hasHeartbeat: module,
    };
  }
}

async function measureOnce({ file, config, paths, hasHeartbeat }, streams) {
  const server = await startServer(file, config);
  const warmUp = await startClients();
  // What the first streams make a process load and compile is not theirs alone.
  await warmUp.ask({ task: 'open', port: server.port, paths, count: 100 });
  await pause(hasHeartbeat ? 4 * HEARTBEAT_MS : 0);
  await warmUp.ask({ task: 'leave' });
  await warmUp.end();
  await pause(500);
  const before = await server.ask('memory');
  const clients = await startClients();
  await clients.ask({ task: 'open', port: server.port, paths, count: streams });
  await pause(hasHeartbeat ? 4 * HEARTBEAT_MS : 500);
  const after = await server.ask('memory');
  await clients.end();
  await server.end();
  const each = (name) => (after[name] - before[name]) / streams / 1_024;
  return { rss: each('rss'), heap: each('heap') };
}

function judgeKind(cases, kind) {
  const costs = new Map(cases.map((one) => [`${one.id} ${kind}`, one[kind].map((value) => [value])]));
  const pairs = ['Express', 'Fastify'].flatMap((adapter) => [
    [`connect-follow ${adapter}`, `nest-held ${adapter}`],
    [`connect ${adapter}`, `nest-held ${adapter}`],
    [`sse-follow ${adapter}`, `nest-sse ${adapter}`],
    [`sse ${adapter}`, `nest-sse ${adapter}`],
  ]);
  return pairs.map(([of, to]) => judge(costs, { of: `${of} ${kind}`, to: `${to} ${kind}`, atMost: 1.15 }));
}

/** In heap: what a follower takes besides the connection that follows nothing. */
function sayBookkeeping({ id, name, heap }, cases) {
  const [, style, adapter] = /^(\w+)-\w+ (.+)$/.exec(id);
  const base = cases.find((one) => one.id === `${style} ${adapter}`);
  return `- ${name}: the follower takes ${sayMore(heap, base.heap, MAX_FOLLOWER_BYTES)}`;
}

/** What a member takes besides a follower, on the instance that it is connected to. */
function sayMember(cases) {
  const { name, heap } = cases.find(({ id }) => id === 'member Fastify');
  const base = cases.find(({ id }) => id === 'connect-follow Fastify');
  return `- ${name}: the member takes ${sayMore(heap, base.heap, MAX_MEMBER_BYTES)}`;
}

/** How much more one takes than another, in heap. */
function sayMore(heap, other, target) {
  const bytes = heap.map((value, n) => (value - other[n]) * 1_024);
  const verdict = median(bytes) <= target ? 'met' : '**missed**';
  const [least, most] = [Math.min(...bytes), Math.max(...bytes)].map((value) => value.toFixed(0));
  return `${median(bytes).toFixed(0)} bytes of heap (${least} to ${most}); target ${target}: ${verdict}`;
}

function kindOf(key) {
  return key.endsWith('rss') ? 'RSS' : 'heap';
}

function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function spread(values) {
  return `${median(values).toFixed(1)} (${Math.min(...values).toFixed(1)} to ${Math.max(...values).toFixed(1)})`;
}
