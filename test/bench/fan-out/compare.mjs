/** What a delivered event costs each of many servers, in runs that are interleaved. */
import { IN_TURN } from './contestants.mjs';
import { Followers } from './followers.mjs';
import { isUndecided, judge } from './verdicts.mjs';

/** Deliveries until the hot code is compiled. */
export const WARM_UP = 40_000;
/**
 * How long a client has been without events before a round, and how many it gets then, with one before what is
 * measured. Linux acknowledges the first 16 packets after a rest of 200 ms at once, and then every second one, or none
 * until 40 ms have passed: a write costs a quarter less from there on. A round stays on this side of it, as do clients
 * that get an event now and then.
 */
const REST_MS = 300;
export const EVENTS_A_ROUND = 15;

/** To see that it works. */
export const QUICK = { runs: { atLeast: 1, atMost: 1 }, rounds: 1, warmUp: 5_000 };

/**
 * Compares servers until the targets are judged. In each run every server has a process of its own, and so have its
 * clients; all are there at the same time, and take turns, for some rounds: forwards in one, backwards in the next.
 *
 * @param {object} options
 * @param {Record<string, object>} options.contestants
 * @param {object} options.load - what is published, and to how many
 * @param {import('./verdicts.mjs').Target[]} options.targets
 * @param {{ atLeast: number, atMost: number }} options.runs
 * @param {number} [options.warmUp] - deliveries before the first round
 */
export async function compare({ contestants, load, targets, runs, rounds, warmUp = WARM_UP, progress }) {
  const results = new Map(Object.keys(contestants).map((id) => [id, newResult()]));
  let ids = Object.keys(contestants);
  let run = 0;
  for (; run < runs.atMost && ids.length > 0; run += 1) {
    progress(`run ${run + 1} of ${runs.atMost} at most, ${ids.length} servers`);
    const servers = await startAll(ids, contestants, load, warmUp);
    try {
      await measureRounds(servers, { load, rounds, run, results });
    } finally {
      await endServers(servers);
    }
    if (run + 1 >= runs.atLeast) {
      ids = idsToGoOnWith(results, targets);
    }
  }
  const costs = costsOf(results);
  return { results, judged: targets.map((target) => judge(costs, target)).filter(Boolean), runs: run };
}

export function newResult() {
  return { costs: [], bytes: [], loadCpu: [], writes: { direct: 0, throughResponse: 0 } };
}

export function costsOf(results) {
  return new Map(Array.from(results, ([id, { costs }]) => [id, costs]));
}

/** Those in a target that more runs could settle. */
function idsToGoOnWith(results, targets) {
  const costs = costsOf(results);
  const open = targets.filter((target) => {
    const judged = judge(costs, target);
    return judged && isUndecided(judged);
  });
  return [...new Set(open.flatMap(({ of, to }) => [of, to]))];
}

/** Starts servers with their clients, and has each deliver some events. */
export async function startAll(ids, contestants, load, warmUp) {
  const inTurn = ids.toSorted((one, other) => IN_TURN.indexOf(one) - IN_TURN.indexOf(other));
  const started = inTurn.map(async (id) => {
    const contestant = contestants[id];
    const server = await contestant.start(load.layout, load.options);
    return { id, contestant, server };
  });
  const servers = [];
  for (const { contestant, server, ...one } of await Promise.all(started)) {
    const { layout, clients: count } = load;
    const followers = await Followers.open({ port: server.port, contestant, layout, count });
    servers.push({ ...one, contestant, server, followers });
  }
  for (const one of servers) {
    await deliver(one, load, Math.ceil(warmUp / deliveriesOf(load)));
  }
  return servers;
}

export async function endServers(servers) {
  await Promise.all(servers.map(({ server, followers }) => Promise.all([server.end(), followers.end()])));
}

/** Adds the rounds of a run to the results. */
export async function measureRounds(servers, { load, rounds, run, results }) {
  servers.forEach(({ id }) => (results.get(id).costs[run] = []));
  for (let round = 0; round < rounds; round += 1) {
    // What is left of a neighbour's load or heat hits the first ones in one round, the last ones in the other.
    const order = (round + run) % 2 === 0 ? servers : servers.toReversed();
    for (const one of order) {
      const { cost, bytes, loadCpu, writes } = await measure(one, load);
      const result = results.get(one.id);
      result.costs[run].push(cost);
      result.bytes.push(bytes);
      result.loadCpu.push(loadCpu);
      result.writes.direct += writes.direct;
      result.writes.throughResponse += writes.throughResponse;
    }
  }
}

/** A round of one server. */
export async function measure(one, load) {
  const { server, followers, contestant } = one;
  await rest(one);
  // The first event finds caches that hold another server's code.
  await deliver(one, load, 1);
  const clientsBefore = await followers.cpu();
  const bytesBefore = await followers.bytes();
  const writesBefore = contestant.isOurs ? await server.ask('writes') : undefined;
  const begin = performance.now();
  const before = await server.ask('cpu');
  await deliver(one, load, load.asks);
  const cpu = (await server.ask('cpu')) - before;
  const us = (performance.now() - begin) * 1_000;
  const clients = (await followers.cpu()) - clientsBefore;
  const bytes = (await followers.bytes()) - bytesBefore;
  const writes = contestant.isOurs ? difference(await server.ask('writes'), writesBefore) : undefined;
  return {
    cost: cpu / (load.asks * deliveriesOf(load)),
    /** On the wire, for each delivered event. */
    bytes: bytes / (load.asks * deliveriesOf(load)),
    /** Of one core, for each process of clients. */
    loadCpu: clients / us / followers.processes,
    writes: writes ?? { direct: 0, throughResponse: 0 },
  };
}

async function rest({ restingSince }) {
  const left = REST_MS - (performance.now() - restingSince);
  if (left > 0) {
    await new Promise((resolve) => setTimeout(resolve, left));
  }
}

function difference(after, before) {
  return {
    direct: after.direct - before.direct,
    throughResponse: after.throughResponse - before.throughResponse,
  };
}

/** Has a server publish `times`, each time when every client has had what came before. */
export async function deliver(one, { turns, burst, bytes, kind, everyMs, layout, clients }, times) {
  const { server, followers } = one;
  const events = turns * burst;
  for (let n = 0; n < times; n += 1) {
    const reached = followers.reached(
      layout.topics === 1
        ? { each: events }
        : { total: (events * clients * layout.perClient) / layout.topics },
    );
    await server.ask({ task: 'publish', turns, burst, bytes, kind, everyMs });
    await reached;
  }
  one.restingSince = performance.now();
}

/** Of what is published at one ask. */
export function deliveriesOf({ turns, burst, clients, layout }) {
  return (turns * burst * clients * layout.perClient) / layout.topics;
}
