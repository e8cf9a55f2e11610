/** What an open stream that is idle costs in memory. */
import { startClients, startServer } from './processes.mjs';
import { median, table } from './statistics.mjs';

export const title = 'Memory of an idle stream';

export async function run({ apps, quick, progress }) {
  const streams = quick ? 1_000 : 3_000;
  const runs = quick ? 2 : 5;
  const cases = [
    { name: 'node:http, a response that is held', file: apps[12].nodeHttp, path: '/', rss: [], heap: [] },
    ...['Express', 'Fastify'].flatMap((adapter) => [
      nest(adapter, 'plain Nest, @Get() + @Res(), a response that is held', 'held', false),
      nest(adapter, 'plain Nest, @Sse()', 'sse', false),
      nest(adapter, 'this module, connect()', 'connect', true),
      nest(adapter, 'this module, @Sse()', 'sse', true),
    ]),
  ];
  for (let n = 0; n < runs; n += 1) {
    for (const one of cases) {
      progress(`run ${n + 1} of ${runs}, ${one.name}`);
      const { rss, heap } = await measureOnce(one, streams);
      one.rss.push(rss);
      one.heap.push(heap);
    }
  }
  const rows = cases.map(({ name, rss, heap }) => [name, spread(rss), spread(heap)]);
  return [
    `KB a stream, with ${streams} open on HTTP/1.1 and Nest 12: median of ${runs} interleaved runs (least to most).`,
    "Heap is V8's and what it holds outside; RSS is the process's growth, the sockets' memory in the kernel not included.",
    '',
    table(['', 'RSS, KB', 'heap, KB'], rows),
  ].join('\n');

  function nest(adapter, what, route, module) {
    return {
      name: `${adapter}: ${what}`,
      file: apps[12].nest,
      config: { adapter, module, routes: [route] },
      path: `/${route}`,
      rss: [],
      heap: [],
    };
  }
}

async function measureOnce({ file, config, path }, streams) {
  const server = await startServer(file, config);
  const warmUp = await startClients();
  // What the first streams make a process load and compile is not theirs alone.
  await warmUp.ask({ task: 'open', port: server.port, paths: [path], count: 100 });
  await warmUp.ask({ task: 'leave' });
  await warmUp.end();
  await settled();
  const before = await server.ask('memory');
  const clients = await startClients();
  await clients.ask({ task: 'open', port: server.port, paths: [path], count: streams });
  await settled();
  const after = await server.ask('memory');
  await clients.end();
  await server.end();
  const each = (name) => (after[name] - before[name]) / streams / 1_024;
  return { rss: each('rss'), heap: each('heap') };
}

function settled() {
  return new Promise((resolve) => setTimeout(resolve, 500));
}

function spread(values) {
  return `${median(values).toFixed(1)} (${Math.min(...values).toFixed(1)} to ${Math.max(...values).toFixed(1)})`;
}
