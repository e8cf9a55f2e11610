import { Agent, request } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import { PAGE_HEADER } from '../../../lib/inspector/protocol.js';
import type { Random } from '../../support/random.js';
import { ANSWER_MS, SoakClient, Tally } from './soak-client.js';
import type { OpenOptions } from './soak-client.js';

/** What the actors of a load share. */
export interface LoadOptions {
  /** Where the instances listen. */
  readonly bases: readonly string[];
  /** Whether a client may come back to another instance than the one that it left. */
  readonly isShared: boolean;
  /** How often things happen: 1 is about a hundred events and ten new streams a second. */
  readonly rate: number;
  readonly random: Random;
}

type Act = (load: Load, base: string, random: Random) => Promise<void>;

/** What is done again and again, with how many do it at once and the most milliseconds between two times. */
const ACTORS: readonly (readonly [act: Act, count: number, everyMs: number])[] = [
  [comeBack, 12, 1_000],
  [readSlowly, 3, 1_000],
  [enterRoom, 4, 1_500],
  [watchRoom, 2, 2_000],
  [useTicket, 2, 1_500],
  [beRevoked, 2, 2_000],
  [beGreedy, 1, 4_000],
  [ask, 4, 1_500],
  [readStream, 2, 2_000],
  [inspect, 1, 3_000],
  [publishOne, 4, 200],
  [publishBatch, 1, 1_000],
  [readOnServer, 1, 3_000],
  [scrape, 1, 3_000],
];

const TOPICS = ['orders.1', 'orders.2', 'orders.2.items', 'stock.1', 'stock.2', 'stock.secret'];
const PATTERNS = ['orders.*', 'orders.>', 'stock.*', 'orders.1,stock.1', '>'];
const HOWS = ['plain', 'plain', 'snapshot', 'latest', 'envelope'];

/** Clients and publishers of all kinds, until {@link stop}. */
export class Load {
  readonly tally = new Tally();
  /** How often clients have followed topics. */
  follows = 0;
  readonly #options: LoadOptions;
  readonly #stopped = new AbortController();
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 8 });
  readonly #clients = new Set<SoakClient>();
  readonly #actors: Promise<unknown>[] = [];
  #opened = 0;

  constructor(options: LoadOptions) {
    this.#options = options;
  }

  get isShared(): boolean {
    return this.#options.isShared;
  }

  start(): void {
    for (const [act, count, everyMs] of ACTORS) {
      for (let n = 0; n < count; n += 1) {
        this.#actors.push(this.#repeat(act, everyMs, this.#options.random.fork()));
      }
    }
  }

  /** Resolves when all clients have left. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    this.#clients.forEach((client) => client.close());
    await Promise.all(this.#actors);
    this.#agent.destroy();
  }

  /** Another instance, if the log is shared. */
  other(base: string, random: Random): string {
    return this.#options.isShared ? random.pick(this.#options.bases) : base;
  }

  /** Waits; less if the load is stopped. */
  async pause(ms: number): Promise<void> {
    await pause(ms / this.#options.rate, undefined, { signal: this.#stopped.signal }).catch(() => undefined);
  }

  /** Opens a stream. Every other client takes gzip. */
  async open(url: string, options: OpenOptions = {}): Promise<SoakClient> {
    this.#opened += 1;
    const client = await SoakClient.open(url, this.tally, { gzip: this.#opened % 2 === 0, ...options });
    this.#clients.add(client);
    void client.ended.then(() => this.#clients.delete(client));
    if (this.#stopped.signal.aborted) {
      client.close();
    }
    return client;
  }

  /** Asks for something that is no stream, on a socket that is kept. */
  async ask(url: string, method = 'GET', body?: object): Promise<{ status: number; text: string }> {
    this.tally.requests += 1;
    for (;;) {
      const answer = await this.#askOnce(url, method, body);
      if (answer !== 'again') {
        return answer;
      }
    }
  }

  #askOnce(url: string, method: string, body?: object): Promise<{ status: number; text: string } | 'again'> {
    const json = body && JSON.stringify(body);
    return new Promise((resolve, reject) => {
      const asked = request(url, {
        method,
        agent: this.#agent,
        headers: json === undefined ? {} : { 'Content-Type': 'application/json' },
      });
      asked.setTimeout(ANSWER_MS, () => {
        reject(new Error(`${method} ${url} was not answered in ${ANSWER_MS} ms.`));
        asked.destroy();
      });
      asked.on('error', (error) => {
        // The server has closed a kept socket in the same moment: its keep-alive was over.
        if (asked.reusedSocket) {
          resolve('again');
        } else {
          reject(error);
        }
      });
      asked.once('response', (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (part: string) => (text += part));
        response.once('error', reject).once('end', () => resolve({ status: response.statusCode!, text }));
      });
      asked.end(json);
    });
  }

  async #repeat(act: Act, everyMs: number, random: Random): Promise<void> {
    while (!this.#stopped.signal.aborted) {
      await this.pause(random.between(0, everyMs));
      if (this.#stopped.signal.aborted) {
        return;
      }
      try {
        await act(this, random.pick(this.#options.bases), random);
      } catch (error) {
        this.tally.fault(`${act.name}: ${String(error)}`);
        // A server that is gone is not asked without a pause.
        await this.pause(1_000);
      }
    }
  }
}

/** Follows, leaves, comes back with its id: soon, or when the ring, or the log, does not have it any more. */
async function comeBack(load: Load, base: string, random: Random): Promise<void> {
  const path = `/follow?patterns=${random.pick(PATTERNS)}&how=${random.pick(HOWS)}`;
  const user = `user-${random.between(1, 20)}`;
  let lastId: string | undefined;
  for (let visits = random.between(1, 4); visits > 0; visits -= 1) {
    load.follows += 1;
    const client = await load.open(`${load.other(base, random)}${path}`, { user, lastId });
    await Promise.race([load.pause(random.between(100, 6_000)), client.ended]);
    client.close();
    // Now and then it brings an id of another log, and gets a reset or its state.
    lastId = random.next() < 0.1 ? 'of-another-log' : client.lastId;
    await load.pause(random.pick([0, 50, 3_000, 12_000]));
  }
}

/** Reads nothing for a while: some catch up, some are closed as slow. */
async function readSlowly(load: Load, base: string, random: Random): Promise<void> {
  const client = await load.open(`${base}/follow?patterns=bulk`, { user: 'slow' });
  await load.pause(200);
  client.pause();
  await load.ask(`${base}/publish`, 'POST', { topic: 'bulk', count: 100, bytes: 20_000 });
  await load.pause(random.pick([500, 1_500, 4_000]));
  client.resume();
  await Promise.race([load.pause(500), client.ended]);
  client.close();
}

async function enterRoom(load: Load, base: string, random: Random): Promise<void> {
  const url = `/rooms/${random.between(1, 3)}?id=member-${random.between(1, 12)}`;
  const member = await load.open(`${base}${url}`, { user: 'member' });
  await load.pause(random.between(200, 4_000));
  member.close();
  // Within the grace, or not.
  await load.pause(random.pick([100, 1_000]));
  const again = await load.open(`${load.other(base, random)}${url}`, {
    user: 'member',
    lastId: member.lastId,
  });
  await load.pause(random.between(100, 1_000));
  again.close();
}

async function watchRoom(load: Load, base: string, random: Random): Promise<void> {
  const [people, ticks] = await Promise.all([
    load.open(`${base}/rooms/${random.between(1, 3)}/people`),
    load.open(`${base}/ticks`),
  ]);
  await load.pause(random.between(500, 5_000));
  people.close();
  ticks.close();
}

/** Opens with a ticket, then with the same, which is spent, and with one that is none. */
async function useTicket(load: Load, base: string, random: Random): Promise<void> {
  const { ticket } = JSON.parse((await load.ask(`${base}/tickets`, 'POST')).text) as { ticket: string };
  const client = await load.open(`${base}/ticketed?ticket=${ticket}`);
  await load.pause(random.between(100, 2_000));
  client.close();
  const spent = await load.open(`${load.other(base, random)}/ticketed?ticket=${ticket}`);
  spent.close();
  const { status } = await load.ask(`${base}/ticketed?ticket=none`);
  if (status !== 401) {
    load.tally.fault(`A ticket that is none was answered with ${status}.`);
  }
}

/** Is revoked, and comes back in vain. Each time under a name of its own: what is kept of it must go. */
async function beRevoked(load: Load, base: string, random: Random): Promise<void> {
  const user = `guest-${random.between(1, 1_000_000)}`;
  load.follows += 1;
  const client = await load.open(`${base}/follow?patterns=orders.*`, { user });
  await load.pause(random.between(100, 1_000));
  await load.ask(`${base}/revoke/${user}`, 'POST');
  await Promise.race([client.ended, load.pause(5_000)]);
  client.close();
  const again = await load.open(`${base}/follow?patterns=orders.*`, { user });
  again.close();
}

/** Reaches limits: of connections for each key, of patterns. */
async function beGreedy(load: Load, base: string): Promise<void> {
  const clients = await Promise.all(
    Array.from({ length: 13 }, () => load.open(`${base}/follow?patterns=orders.*`, { user: 'greedy' })),
  );
  await load.pause(500);
  clients.forEach((client) => client.close());
  const { status } = await load.ask(`${base}/follow-many?patterns=a,b,c,d,e,f`);
  if (status !== 400) {
    load.tally.fault(`Six patterns were answered with ${status}.`);
  }
}

/** Asks for an answer, leaves it, comes back for the rest, or stops it, or leaves it for good. */
async function ask(load: Load, base: string, random: Random): Promise<void> {
  const id = `run-${random.between(1, 1_000_000)}`;
  const owner = `owner-${random.between(1, 6)}`;
  const client = await load.open(`${base}/runs/${id}?owner=${owner}`, { method: 'POST', user: owner });
  if (random.next() < 0.3) {
    await client.ended;
    return;
  }
  await load.pause(random.between(50, 700));
  client.close();
  const what = random.next();
  if (client.status !== 201 || what < 0.2) {
    return;
  }
  if (what < 0.4) {
    await load.ask(`${load.other(base, random)}/runs/${id}?owner=${owner}`, 'DELETE');
    return;
  }
  const { lastId } = client;
  const again = await load.open(`${load.other(base, random)}/runs/${id}?owner=${owner}`, {
    user: owner,
    lastId,
  });
  await Promise.race([again.ended, load.pause(5_000)]);
  again.close();
}

async function readStream(load: Load, base: string, random: Random): Promise<void> {
  const client = await load.open(`${base}/stream`, { user: 'reader' });
  await Promise.race([client.ended, load.pause(random.between(100, 3_000))]);
  client.close();
}

/** Watches connections and a topic, as an operator's page does. */
async function inspect(load: Load, base: string, random: Random): Promise<void> {
  const headers = { [PAGE_HEADER]: '1' };
  const [list, tail] = await Promise.all([
    load.open(`${base}/sse-inspector/stream?list=connections`, { headers }),
    load.open(`${base}/sse-inspector/tail?pattern=orders.*`, { headers }),
  ]);
  if (list.status !== 200 || tail.status !== 200) {
    load.tally.fault(`The inspector answered with ${list.status} and ${tail.status}.`);
  }
  await load.pause(random.between(500, 5_000));
  list.close();
  tail.close();
}

async function publishOne(load: Load, base: string, random: Random): Promise<void> {
  load.tally.publishes += 1;
  await load.ask(`${base}/publish`, 'POST', {
    topic: random.pick(TOPICS),
    count: 1,
    bytes: random.between(0, 500),
  });
}

async function publishBatch(load: Load, base: string, random: Random): Promise<void> {
  load.tally.publishes += 50;
  await load.ask(`${base}/publish`, 'POST', { topic: random.pick(TOPICS), count: 50, bytes: 200 });
}

async function readOnServer(load: Load, base: string): Promise<void> {
  const { status } = await load.ask(`${base}/read`);
  if (status !== 200) {
    load.tally.fault(`Reading on the server was answered with ${status}.`);
  }
}

async function scrape(load: Load, base: string): Promise<void> {
  const [metrics, ready] = await Promise.all([load.ask(`${base}/metrics`), load.ask(`${base}/ready`)]);
  if (metrics.status !== 200 || !metrics.text.includes('sse_connections') || ready.status !== 200) {
    load.tally.fault(`A scrape was answered with ${metrics.status}, readiness with ${ready.status}.`);
  }
}
