/** What is asked of Redis when clients come back, and by how many connections. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { startCountingClients } from '../processes.mjs';
import { table } from '../statistics.mjs';
import { scriptsOf, startInstance, thousands, withRedis } from './servers.mjs';

/** Each client follows one of them. */
const LAYOUT = { topics: 500, perClient: 1 };
const BYTES = 100;
const RING = 10_000;
/** How long to listen to what an instance asks when nothing happens. */
const IDLE_MS = 5_000;
const MAX_REQUESTS = 50;
const MAX_CONNECTIONS = 2;

export const requestItems = {
  requests: {
    title: 'Requests to Redis when clients come back',
    async run({ apps, load, quick, progress }) {
      const scale = quick ? 10 : 1;
      const cases = [
        {
          name: 'that the ring serves',
          clients: 5_000 / scale,
          below: 0,
          spread: RING / 2,
          target: 0,
        },
        {
          name: 'spread over 20,000 events below the ring',
          clients: 5_000 / scale,
          below: 20_000,
          spread: 20_000,
          target: MAX_REQUESTS - 1,
        },
      ];
      const runs = quick ? 1 : 3;
      const results = [];
      let connections;
      for (const one of cases) {
        for (let run = 0; run < runs; run += 1) {
          progress(`${one.name}, run ${run + 1} of ${runs}`);
          const measured = await withRedis(load, (redis) => measureOnce({ apps, load, redis, ...one }));
          ({ connections } = measured);
          results.push({ ...one, run, ...measured });
        }
      }
      return report(results, connections);
    },
  },
};

async function measureOnce({ apps, load, redis, clients, below, spread }) {
  const instances = await startTwo(apps, redis);
  const [publisher, instance] = instances.map(({ server }) => server);
  const asked = await Asked.listen(redis, await scriptsOf(load));
  const followers = await startCountingClients();
  try {
    const total = below + RING;
    // The oldest place is the first one below the ring; or within the ring, from its middle on.
    const step = spread / clients;
    const first = below === 0 ? total - spread : 0;
    const { positions, missed } = await publisher.ask({
      task: 'publishMany',
      events: total,
      bytes: BYTES,
      returning: { clients, first, step },
    });
    await instance.ask({ task: 'reaches', position: await publisher.ask('position') });
    const idle = await asked.during(() => pause(IDLE_MS));
    const begin = performance.now();
    const requests = await asked.during(async () => {
      const open = { path: '/connect-follow', port: instance.port, first: 0, count: clients };
      await followers.ask({ task: 'open', ...open, lastEventId: positions });
      await followers.ask({ task: 'reached', events: missed });
    });
    const ms = performance.now() - begin;
    return { ms, missed, idle, requests, connections: instances.map((one) => one.connections) };
  } finally {
    asked.stop();
    await Promise.all([publisher.end(), instance.end(), followers.end()]);
  }
}

/** Two instances, and how many connections each has opened. */
async function startTwo(apps, redis) {
  const instances = [];
  let before = await countConnections(redis);
  for (let n = 0; n < 2; n += 1) {
    const server = await startInstance({ apps, redis, layout: LAYOUT, options: { ringEvents: RING } });
    const now = await countConnections(redis);
    instances.push({ server, connections: now - before });
    before = now;
  }
  return instances;
}

async function countConnections(redis) {
  return String(await redis.command('CLIENT', 'LIST'))
    .trim()
    .split('\n').length;
}

/** Listens to all that a server is asked. */
class Asked {
  #socket;
  #scripts;
  #counts = new Map();

  static async listen(redis, scripts) {
    const asked = new Asked();
    const ofPackage = Object.entries(scripts).filter(([, script]) => script.digest !== undefined);
    asked.#scripts = new Map(ofPackage.map(([name, { digest }]) => [digest, name]));
    // Bare, since ioredis fails where what it is to tell comes along with the answer to MONITOR.
    asked.#socket = connect(redis.port, '127.0.0.1');
    asked.#socket.write('MONITOR\r\n');
    const lines = createInterface({ input: asked.#socket });
    await once(lines, 'line');
    lines.on('line', (line) => asked.#add(line));
    return asked;
  }

  /** What was asked during a task, by the command or the script, and for how many seconds that went on. */
  async during(task) {
    this.#counts.clear();
    const begin = performance.now();
    await task();
    // What was asked last is told last.
    await pause(100);
    return { seconds: (performance.now() - begin) / 1_000, counts: new Map(this.#counts) };
  }

  stop() {
    this.#socket.destroy();
  }

  /** @param line - such as `+1700000000.000000 [0 127.0.0.1:50000] "EVALSHA" "…" …` */
  #add(line) {
    const [, source, command, first] = /^\+[\d.]+ \[\d+ ([^\]]+)\] "([^"]*)"(?: "([^"]*)")?/.exec(line);
    // What a script does is part of the one request that runs it.
    if (source === 'lua') {
      return;
    }
    const isScript = /^evalsha$/i.test(command);
    const name = isScript ? (this.#scripts.get(first) ?? 'another script') : command.toUpperCase();
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1);
  }
}

function report(results, connections) {
  const rows = results.map(({ name, clients, run, ms, missed, idle, requests, target }) => {
    const pages = requests.counts.get('PAGE') ?? 0;
    const verdict = pages <= target ? 'met' : '**missed**';
    return [
      `${thousands(clients)} clients ${name}, run ${run + 1}`,
      thousands(missed),
      `${(ms / 1_000).toFixed(1)} s`,
      `${pages}`,
      `≤ ${target}: ${verdict}`,
      perSecond(requests),
      perSecond(idle),
    ];
  });
  const most = Math.max(...connections);
  const text = [
    'Real HTTP clients of one instance of two, each of which comes back with an id, and is timed until it has all that it missed.',
    `The ring has ${thousands(RING)} events, and each client follows one topic of ${LAYOUT.topics}. Requests for pages of the log are counted by MONITOR;`,
    'beside them stands what else was asked, a second, by both instances, and what they ask when nothing happens: waiting',
    'reads, and checks.',
    '',
    table(
      ['', 'events missed', 'time', 'requests for them', '', 'all others a second', 'idle, a second'],
      rows,
    ),
    '',
    `Connections to Redis of each process: ${connections.join(' and ')}; target ${MAX_CONNECTIONS}: ${most <= MAX_CONNECTIONS ? 'met' : '**missed**'}.`,
  ].join('\n');
  return { text };
}

function perSecond({ seconds, counts }) {
  const others = Array.from(counts).filter(([name]) => name !== 'PAGE');
  return others.map(([name, count]) => `${name} ${(count / seconds).toFixed(1)}`).join(', ');
}
