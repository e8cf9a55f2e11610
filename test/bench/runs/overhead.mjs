/** What a run costs more than writing its frames, with a log in memory. */
import { takeRuns, takeTurns } from '../turns.mjs';
import { startAnswerClients } from '../processes.mjs';
import { interval, median, table } from '../statistics.mjs';
import { MODEL_PACKETS, newIds, pathOfNew, refuseLosses, startAnswers } from './answers.mjs';

const MAX_US = 15;
const WHO = { bare: 'for await … res.write', runs: 'a run' };
const TOKENS = 300;
const PACES = {
  model: {
    name: '100 tokens a second, 1 to 6 in a packet',
    perSecond: 100,
    packets: MODEL_PACKETS,
    repeat: [1, 1, 1],
  },
  flat: { name: 'flat out, 16 in a packet', packets: [16], repeat: [40, 8, 1] },
  single: { name: 'flat out, 1 in a packet', packets: [1], repeat: [40, 8, 1] },
};
/** Answers at the same time. */
const CONCURRENT = [1, 10, 100];

export const overheadItems = {
  overhead: {
    title: 'CPU of a run with its log in memory',
    async run({ apps, quick, progress }) {
      const { runs, rounds } = quick ? { runs: 1, rounds: 2 } : { runs: 4, rounds: 3 };
      const all = await takeRuns({
        runs,
        progress,
        measure: (run) => measureRun({ apps, rounds, run }),
      });
      return report(all, { runs, rounds });
    },
  },
};

async function measureRun({ apps, rounds, run }) {
  const kinds = Object.keys(WHO);
  const servers = Object.fromEntries(
    await Promise.all(kinds.map(async (kind) => [kind, await startAnswers(apps, kind)])),
  );
  const clients = await startAnswerClients();
  const measure = async (id) => {
    const [kind, pace, place] = id.split(' ');
    const { name: _, repeat, ...answer } = PACES[pace];
    const count = CONCURRENT[place];
    const before = await servers[kind].ask('cpu');
    for (let n = 0; n < repeat[place]; n += 1) {
      const paths = newIds(count).map((id) => pathOfNew(id, { ...answer, tokens: TOKENS }));
      refuseLosses(await clients.ask({ task: 'get', port: servers[kind].port, paths }), TOKENS);
    }
    return ((await servers[kind].ask('cpu')) - before) / (repeat[place] * count * TOKENS);
  };
  try {
    const all = (paces) =>
      paces.flatMap((pace) =>
        CONCURRENT.flatMap((_, place) => kinds.map((kind) => `${kind} ${pace} ${place}`)),
      );
    // Caches, and code that is compiled when it has run often.
    await takeTurns(all(['flat', 'single']), { rounds: 1, run, measure });
    return await takeTurns(all(Object.keys(PACES)), { rounds, run, measure });
  } finally {
    await Promise.all([...Object.values(servers), clients].map((process) => process.end()));
  }
}

function report(all, { runs, rounds }) {
  const cases = Object.keys(PACES).flatMap((pace) => CONCURRENT.map((_, place) => `${pace} ${place}`));
  const judged = cases.map((one) => judgeDifference(all.get(`runs ${one}`), all.get(`bare ${one}`)));
  const rows = cases.map((one, n) => {
    const [pace, place] = one.split(' ');
    const { difference, low, high, verdict } = judged[n];
    const count = CONCURRENT[place];
    return [
      `${PACES[pace].name}, ${count} ${count === 1 ? 'answer' : 'answers at the same time'}`,
      ...Object.keys(WHO).map((kind) => median(all.get(`${kind} ${one}`).flat()).toFixed(1)),
      difference.toFixed(1),
      `${low.toFixed(1)} to ${high.toFixed(1)}`,
      verdict === 'missed' ? '**missed**' : verdict,
    ];
  });
  const text = [
    `CPU of the server, µs a token, of answers with ${TOKENS} tokens of about 200 bytes, each to one client, from the request to the end:`,
    `median of ${runs} runs of ${rounds} interleaved rounds. What a run takes more is the median of the differences within a round`,
    `(95% interval); the target is ${MAX_US} at most.`,
    '',
    table(['', ...Object.values(WHO), 'more', '95% interval', ''], rows),
  ].join('\n');
  return { text, judged };
}

/** By the rounds that both took part in. */
function judgeDifference(ours, theirs) {
  const differences = ours.map((rounds, run) => rounds.map((cost, round) => cost - theirs[run][round]));
  const [low, high] = interval(differences);
  const verdict = high <= MAX_US ? 'met' : low > MAX_US ? 'missed' : 'open';
  return { difference: median(differences.flat()), low, high, verdict };
}
