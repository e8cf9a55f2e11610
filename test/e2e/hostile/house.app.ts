/**
 * The apps of the hostile house, plain Nest and with the module, and a server that tells what they have seen.
 * A tracer may be named as its argument: it patches Nest before an app loads it.
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { inspect } from 'node:util';
import type { House } from './house.js';
import { startTracer } from './tracers.js';

const tracer = startTracer(process.argv[2]);
const { connectionsOf, ORDERS, pinoLines, PLATFORMS, startHouse } = await import('./house.js');
const houses: House[] = [];
for (const platform of PLATFORMS) {
  for (const order of ORDERS) {
    for (const withModule of [false, true]) {
      houses.push(await startHouse({ platform, order, withModule, imports: tracer.imports() }));
    }
  }
}

// From here: what an app fails to start with is printed, and ends the process.
const crashes: string[] = [];
process.on('uncaughtException', (error) => crashes.push(`uncaught: ${inspect(error)}`));
process.on('unhandledRejection', (error) => crashes.push(`unhandled: ${inspect(error)}`));

const server = createServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url!, 'http://localhost');
  void answer(pathname, searchParams).then(
    (body) => response.end(JSON.stringify(body)),
    (error: unknown) => response.writeHead(500).end(String(error)),
  );
});

async function answer(path: string, query: URLSearchParams): Promise<unknown> {
  switch (path) {
    case '/houses':
      return houses.map(({ platform, order, withModule, port, tcpPort }) => ({
        platform,
        order,
        withModule,
        port,
        tcpPort,
      }));
    case '/crashes':
      return crashes;
    case '/seen':
      return seenBy(
        houses.find(({ port }) => String(port) === query.get('port'))!,
        query.get('request')!,
      );
    case '/connections':
      return houses
        .filter(({ withModule }) => withModule)
        .reduce((sum, { app }) => sum + connectionsOf(app), 0);
    case '/close':
      await Promise.all(houses.map(({ app }) => app.close()));
      return crashes;
    default:
      throw new Error(`${path} is not known.`);
  }
}

/** What an app has noted of one request. */
function seenBy({ journal, subscriptions, port }: House, request: string): unknown {
  return {
    body: journal.bodies.get(request) ?? null,
    ends: [...journal.ends]
      .flatMap(([logger, requests]) => (requests.includes(request) ? [logger] : []))
      .sort(),
    logged: pinoLines
      .map((line) => JSON.parse(line) as { msg: string; req?: { headers: Record<string, string> } })
      .filter(
        ({ req }) => req?.headers['x-request'] === request && req.headers['host'] === `127.0.0.1:${port}`,
      )
      .map(({ msg }) => msg),
    spans: tracer.spans(request, port),
    isSubscribed: subscriptions.open.has(request),
  };
}

await once(server.listen(0, '127.0.0.1'), 'listening');
console.log(`listening on ${(server.address() as AddressInfo).port}`);
