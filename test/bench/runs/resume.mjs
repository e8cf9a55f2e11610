/** How long a client waits that comes back to an answer. */
import { scriptsOf, thousands } from '../redis/servers.mjs';
import { interval, median, quantile, table } from '../statistics.mjs';
import { LIBRARIES, named, newIds, pathOfAgain, sum, withTwoInstances } from './answers.mjs';

const TOKENS = 5_000;
const MAX_FIRST_MS = 20;
const MAX_REQUESTS = 1;
const ANSWERS = { live: 'that goes on', ended: 'that has ended' };
const PLACES = { other: 'an instance that has not seen it', producer: 'the one that makes it' };
const CASES = Object.keys(ANSWERS).flatMap((state) =>
  Object.keys(PLACES).map((place) => `${state} ${place}`),
);

export const resumeItems = {
  resume: {
    title: `Resuming an answer of ${thousands(TOKENS)} tokens`,
    async run({ apps, load, quick, progress }) {
      const { runs, each } = quick ? { runs: 1, each: 5 } : { runs: 5, each: 20 };
      const scripts = await scriptsOf(load);
      const all = new Map();
      for (let run = 0; run < runs; run += 1) {
        progress(`run ${run + 1} of ${runs}`);
        const order = Object.keys(LIBRARIES);
        for (const kind of run % 2 === 0 ? order : order.toReversed()) {
          const measured = await withTwoInstances({ apps, load, kind }, (ground) => measureRun(ground, each));
          measured.forEach((list, one) => {
            const id = `${kind} ${one}`;
            all.set(id, [...(all.get(id) ?? []), list.map((answer) => withNames(answer, scripts))]);
          });
        }
      }
      return report(all, { runs, each });
    },
  },
};

/** Each answer is resumed once on each of the two: after that an instance may have it at hand. */
async function measureRun({ producer, other, clients }, each) {
  const servers = { producer, other };
  const answer = { tokens: TOKENS, packets: [100], isHeld: true };
  const resume = async (id, place) => {
    await servers[place].ask('commands');
    const asking = { port: servers[place].port, paths: [pathOfAgain(id)], tokens: TOKENS };
    const [resumed] = await clients.ask({ task: 'get', ...asking });
    const { counts, beforeFirst } = await servers[place].ask('commands');
    return { ...resumed, counts, before: beforeFirst[0] ?? {} };
  };
  const results = new Map();
  const measure = async (ids, state) => {
    for (const place of Object.keys(PLACES)) {
      const list = [];
      for (const id of ids) {
        list.push(await resume(id, place));
      }
      results.set(`${state} ${place}`, list);
    }
  };
  const make = async (count) => {
    const ids = newIds(count);
    await producer.ask({ task: 'make', ids, answer });
    await untilMade(ids, { producer, clients });
    return ids;
  };
  const known = await make(Math.ceil(each / 4));
  // Caches, and code that is compiled when it has run often.
  await measure(known, 'live');
  await measure(await make(each), 'live');
  const ending = await make(each);
  await producer.ask('letGo');
  await untilEnded(ending, { producer, clients });
  await measure(ending, 'ended');
  return results;
}

/** As the one that makes them says itself. */
async function untilMade(ids, { producer, clients }) {
  const paths = ids.map((id) => pathOfAgain(id));
  const made = await clients.ask({ task: 'get', port: producer.port, paths, tokens: TOKENS });
  const missing = made.find(({ tokens }) => tokens < TOKENS);
  if (missing) {
    throw new Error(`An answer was not made: ${JSON.stringify(missing)}`);
  }
}

async function untilEnded(ids, { producer, clients }) {
  const paths = ids.map((id) => pathOfAgain(id));
  await clients.ask({ task: 'get', port: producer.port, paths, timeoutMs: 10_000 });
}

function withNames({ counts, before, ...answer }, scripts) {
  return { ...answer, counts: named(counts, scripts), before: named(before, scripts) };
}

function report(all, { runs, each }) {
  const rows = CASES.flatMap((one) =>
    Object.entries(LIBRARIES).map(([kind, library]) => {
      const measured = all.get(`${kind} ${one}`);
      const had = measured.flat().filter(({ tokens }) => tokens >= TOKENS);
      const [state, place] = one.split(' ');
      const name = `${ANSWERS[state]}, on ${PLACES[place]}`;
      if (had.length === 0) {
        return [name, library, saidInstead(measured.flat()), ...Array(5).fill('')];
      }
      const first = had.map(({ firstMs }) => firstMs);
      const whole = had.map(({ wholeMs }) => wholeMs);
      return [
        name,
        library,
        had.length === measured.flat().length
          ? 'all of it'
          : `${had.length} of ${measured.flat().length} had it`,
        `${quantile(first, 0.5).toFixed(1)}, ${quantile(first, 0.95).toFixed(1)}`,
        `${quantile(whole, 0.5).toFixed(1)}, ${quantile(whole, 0.95).toFixed(1)}`,
        median(had.map(({ before }) => sum(before))).toFixed(0),
        median(had.map(({ counts }) => sum(counts))).toFixed(0),
        listOf(had),
      ];
    }),
  );
  const judged = CASES.map((one) => judgeFirst(all.get(`runs ${one}`)));
  const text = [
    `Milliseconds from the request, of ${runs} interleaved runs with ${each} answers, one after the other: median, and 95th percentile. Tokens of`,
    'about 200 bytes. Requests to Redis are those of the instance that is asked, whatever for: the median before the first byte',
    'leaves, and until the client has it all.',
    '',
    table(
      [
        'an answer',
        '',
        'the client has',
        'first byte: p50, p95',
        'the whole: p50, p95',
        'requests before the first byte',
        'in all',
        'such as',
      ],
      rows,
    ),
    '',
    `This package is to send the first byte within ${MAX_FIRST_MS} ms at p95, after ${MAX_REQUESTS} request to Redis or none.`,
    '',
    table(
      ['', 'p95 of the first byte', '95% interval', 'most requests before it', ''],
      judged.map(({ p95, low, high, most, verdict }, n) => {
        const [state, place] = CASES[n].split(' ');
        return [
          `${ANSWERS[state]}, on ${PLACES[place]}`,
          p95.toFixed(1),
          `${low.toFixed(1)} to ${high.toFixed(1)}`,
          `${most}`,
          verdict === 'missed' ? '**missed**' : verdict,
        ];
      }),
    ),
  ].join('\n');
  const failed = CASES.some((one) =>
    all
      .get(`runs ${one}`)
      .flat()
      .some(({ tokens }) => tokens !== TOKENS),
  );
  return { text, judged, failed };
}

/** What those were answered who had nothing. */
function saidInstead(answers) {
  const said = answers.map(({ status, ending }) => (ending === 'whole' ? `${status}` : ending));
  return `nothing: ${[...new Set(said)].join(', ')}`;
}

function listOf(answers) {
  const names = [...new Set(answers.flatMap(({ counts }) => Object.keys(counts)))];
  const list = names.map((name) => [name, median(answers.map(({ counts }) => counts[name] ?? 0))]);
  return list
    .filter(([, count]) => count > 0)
    .map(([name, count]) => `${name} ${count}`)
    .join(', ');
}

/** Requests that are no answer's matter, such as a look at the log, may come in between: all but one in a hundred count. */
function judgeFirst(measured) {
  const first = measured.map((list) => list.map(({ firstMs }) => firstMs));
  const [low, high] = interval(first, 2_000, (values) => quantile(values, 0.95));
  const most = quantile(
    measured.flat().map(({ before }) => sum({ ...before, XREAD: 0, HMGET: 0, VERIFY: 0, KEEP_LEASE: 0 })),
    0.99,
  );
  const isMissed = low > MAX_FIRST_MS || most > MAX_REQUESTS;
  const isMet = high <= MAX_FIRST_MS && most <= MAX_REQUESTS;
  return {
    p95: quantile(first.flat(), 0.95),
    low,
    high,
    most: Math.round(most),
    verdict: isMet ? 'met' : isMissed ? 'missed' : 'open',
  };
}
