/** What a token costs where answers go through Redis. */
import { cpuOf, scriptsOf, thousands } from '../redis/servers.mjs';
import { takeRuns, takeTurns } from '../turns.mjs';
import { median, interval, table } from '../statistics.mjs';
import {
  LIBRARIES,
  named,
  newIds,
  pathOfAgain,
  pathOfNew,
  refuseLosses,
  sum,
  withTwoInstances,
} from './answers.mjs';

const RATES = [50, 100, 500, 2_000];
const AUDIENCES = { own: 'the client that asked', both: 'another one, too, on another instance' };
/** What is made within as many milliseconds is to share a way there and back. */
const SHARED_MS = 10;
/** The beginning and the end of a run. */
const FEW_MORE = 3;

export const tokenItems = {
  redis: {
    title: 'What a token costs on Redis',
    async run({ apps, load, quick, progress }) {
      const { runs, rounds, seconds } = quick
        ? { runs: 1, rounds: 1, seconds: 1 }
        : { runs: 3, rounds: 2, seconds: 2 };
      const scripts = await scriptsOf(load);
      const all = await takeRuns({
        runs,
        progress,
        measure: (run) => measureRun({ apps, load, scripts, rounds, run, seconds }),
      });
      return report(all, { runs, rounds, seconds });
    },
  },
};

function measureRun({ apps, load, scripts, rounds, run, seconds }) {
  const ground = (kind, task) => withTwoInstances({ apps, load, kind }, task);
  return ground('runs', (ours) =>
    ground('resumable-stream', (theirs) => {
      const grounds = { runs: ours, 'resumable-stream': theirs };
      const measure = (id) => {
        const [kind, audience, rate] = id.split(' ');
        return measureOnce(grounds[kind], { audience, rate: Number(rate), seconds, scripts });
      };
      const ids = RATES.flatMap((rate) =>
        Object.keys(AUDIENCES).flatMap((audience) =>
          Object.keys(LIBRARIES).map((kind) => `${kind} ${audience} ${rate}`),
        ),
      );
      return warmUp(ids, measure).then(() => takeTurns(ids, { rounds, run, measure }));
    }),
  );
}

async function warmUp(ids, measure) {
  for (const id of ids.filter((one) => one.endsWith(` ${RATES.at(-1)}`))) {
    await measure(id);
  }
}

/** An answer from the request to its end; the other client comes when it has begun. */
async function measureOnce({ redis, producer, other, clients }, { audience, rate, seconds, scripts }) {
  const tokens = rate * seconds;
  const [id] = newIds(1);
  const servers = audience === 'both' ? [producer, other] : [producer];
  await Promise.all(servers.map((server) => server.ask('commands')));
  await redis.command('CONFIG', 'RESETSTAT');
  const cpu = () => Promise.all(servers.map((server) => server.ask('cpu')));
  const [redisBefore, before] = [await cpuOf(redis), await cpu()];
  const answer = { tokens, perSecond: rate, packets: [1] };
  await clients.ask({ task: 'begin', port: producer.port, paths: [pathOfNew(id, answer)] });
  if (audience === 'both') {
    while ((await clients.ask('tokens')) === 0) {
      // Until the first token has come.
    }
    await clients.ask({ task: 'begin', port: other.port, paths: [pathOfAgain(id)] });
  }
  refuseLosses(await clients.ask('answers'), tokens);
  const after = await cpu();
  const redisUs = ((await cpuOf(redis)) - redisBefore) / tokens;
  const executed = await countExecuted(redis);
  const asked = await Promise.all(servers.map((server) => server.ask('commands')));
  const counts = asked.map(({ counts }) => named(counts, scripts));
  return {
    counts,
    seconds,
    requests: counts.reduce((all, one) => all + sum(one), 0) / tokens,
    appends: counts[0].APPEND ?? 0,
    executed: executed / tokens,
    redisUs,
    us: after.map((value, n) => (value - before[n]) / tokens),
  };
}

/** Commands that Redis has carried out, those within scripts included. */
async function countExecuted(redis) {
  const stats = Object.entries(await redis.info('commandstats'));
  const own = ['info', 'config|resetstat', 'command', 'client|setinfo', 'hello'];
  return stats
    .filter(([name]) => name.startsWith('cmdstat_') && !own.includes(name.slice('cmdstat_'.length)))
    .reduce((all, [, text]) => all + Number(/calls=(\d+)/.exec(text)[1]), 0);
}

function report(all, { runs, rounds, seconds }) {
  const rows = RATES.flatMap((rate) =>
    Object.entries(AUDIENCES).flatMap(([audience, name]) =>
      Object.entries(LIBRARIES).map(([kind, library]) => {
        const measured = all.get(`${kind} ${audience} ${rate}`);
        const of = (read) => measured.map((list) => list.map(read));
        const [low, high] = interval(of(({ us }) => us[0]));
        const us = of(({ us }) => us[0]).flat();
        return [
          `${thousands(rate)} a second, ${name}`,
          library,
          median(of(({ requests }) => requests).flat()).toFixed(2),
          median(of(({ executed }) => executed).flat()).toFixed(2),
          median(of(({ redisUs }) => redisUs).flat()).toFixed(0),
          `${median(us).toFixed(0)} (${low.toFixed(0)} to ${high.toFixed(0)})`,
          audience === 'both' ? median(of(({ us }) => us[1]).flat()).toFixed(0) : '',
        ];
      }),
    ),
  );
  const judged = RATES.map((rate) => judgeSharing(all.get(`runs own ${rate}`).flat(), rate));
  const text = [
    `An answer of ${seconds} seconds, tokens of about 200 bytes at an even pace, from the request to the end: median of ${runs} runs of`,
    `${rounds} interleaved rounds. Requests are what the instances ask of Redis, whatever for; commands are what Redis carries out,`,
    'those within scripts included.',
    '',
    table(
      [
        'tokens, and who gets them',
        '',
        'requests a token',
        'commands a token',
        'CPU of Redis, µs a token',
        'CPU of the instance that makes it, µs a token (95% interval)',
        'of the other',
      ],
      rows,
    ),
    '',
    `Tokens that are made within ${SHARED_MS} ms share a way there and back where a run appends no more often than that; ${FEW_MORE} times`,
    'more at its beginning and its end.',
    '',
    table(
      ['tokens a second', 'appends a second', 'at most', 'tokens an append', ''],
      judged.map(({ rate, appends, most, verdict }) => [
        thousands(rate),
        (appends / seconds).toFixed(1),
        (most / seconds).toFixed(1),
        ((rate * seconds) / appends).toFixed(1),
        verdict === 'missed' ? '**missed**' : verdict,
      ]),
    ),
    '',
    `What this package asks, a second, with both clients at ${thousands(RATES.at(-1))} tokens a second: ${listOf(all)}.`,
  ].join('\n');
  return { text, judged };
}

function judgeSharing(measured, rate) {
  const appends = Math.max(...measured.map((one) => one.appends));
  const most = Math.min(rate, 1_000 / SHARED_MS) * measured[0].seconds + FEW_MORE;
  return { rate, appends, most, verdict: appends <= most ? 'met' : 'missed' };
}

function listOf(all) {
  const { counts, seconds } = all
    .get(`runs both ${RATES.at(-1)}`)
    .flat()
    .at(-1);
  return counts
    .map((one, n) => {
      const list = Object.entries(one).map(([name, count]) => `${name} ${(count / seconds).toFixed(1)}`);
      return `${n === 0 ? 'the instance that makes it' : 'the other'} ${list.join(', ')}`;
    })
    .join('; ');
}
