/** How long `app.close()` takes with streams open. */
import { startClients, startServer } from './processes.mjs';
import { median, table } from './statistics.mjs';

const ADAPTERS = ['Express', 'Fastify', 'Fastify on HTTP/2'];

export const title = 'app.close() with 1,000 open streams';

export async function run({ apps, quick, progress }) {
  const streams = 1_000;
  const runs = quick ? 2 : 5;
  const cases = ADAPTERS.flatMap((adapter) =>
    [11, 12].map((major) => ({ adapter, major, ms: [], cpuMs: [] })),
  );
  for (let n = 0; n < runs; n += 1) {
    for (const one of cases) {
      progress(`run ${n + 1} of ${runs}, ${one.adapter}, Nest ${one.major}`);
      const { ms, cpuMs } = await closeOnce(apps[one.major], one.adapter, streams);
      one.ms.push(ms);
      one.cpuMs.push(cpuMs);
    }
  }
  const rows = cases.map(({ adapter, major, ms, cpuMs }) => [
    `${adapter}, Nest ${major}`,
    `${median(ms).toFixed(0)} ms`,
    `${Math.min(...ms).toFixed(0)} to ${Math.max(...ms).toFixed(0)}`,
    `${median(cpuMs).toFixed(0)} ms`,
  ]);
  return [
    `Median of ${runs} interleaved runs; half of the streams by connect(), half by @Sse(). Every client had the end of`,
    'its response and a time of its own to come back.',
    '',
    table(['', 'app.close()', 'least to most', "the server's CPU"], rows),
  ].join('\n');
}

async function closeOnce({ nest }, adapter, streams) {
  const server = await startServer(nest, { adapter, module: true, routes: ['connect', 'sse'] });
  const clients = await startClients();
  const isHttp2 = adapter.endsWith('HTTP/2');
  await clients.ask({
    task: 'open',
    port: server.port,
    isHttp2,
    paths: ['/connect', '/sse'],
    count: streams,
  });
  const open = await server.ask('openStreams');
  if (open !== streams) {
    throw new Error(`${open} streams are open on ${adapter}, not ${streams}`);
  }
  const before = await server.ask('cpu');
  const ms = await server.ask('close');
  const cpuMs = ((await server.ask('cpu')) - before) / 1_000;
  await server.end();
  await expectEnded(clients, adapter, streams);
  await clients.end();
  return { ms, cpuMs };
}

async function expectEnded(clients, adapter, streams) {
  // The server has let them go; the clients may have to catch up with what it sent.
  for (let looks = 0; ; looks += 1) {
    const { complete, retries } = await clients.ask({ task: 'ended' });
    // Two may be told the same millisecond.
    if (complete === streams && retries > streams * 0.9) {
      return;
    }
    if (looks === 100) {
      throw new Error(`on ${adapter}, ${complete} streams ended in order, ${retries} times to come back`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
