/** What clients have of answers whose process is killed while it makes them. */
import { setTimeout as pause } from 'node:timers/promises';
import { median, table } from '../statistics.mjs';
import { LIBRARIES, MODEL_PACKETS, newIds, pathOfAgain, pathOfNew, withTwoInstances } from './answers.mjs';

const PER_SECOND = 50;
/** So many that none is over before the process is killed. */
const TOKENS = 5_000;
/** How long a client is away that reloads. */
const AWAY_MS = 100;
/** What has said nothing to its client by then, hangs: three times the time after which a run is given up by default. */
const DEADLINE_MS = 30_000;
const CLIENTS = {
  reloads: 'comes back to another instance after the kill',
  watches: 'was attached to another instance already',
};
const SAID = {
  told: 'the protocol’s error, in the stream',
  cut: 'the connection is cut',
  refused: 'an error’s status',
  nothing: 'no answer (204)',
  silent: 'an end as if the answer were complete',
  hangs: 'nothing within 30 s',
};

export const lossItems = {
  loss: {
    title: 'Answers whose process is killed',
    async run({ apps, load, quick, progress }) {
      const { Random } = await load('random.js');
      const { seeds, answers } = quick ? { seeds: [1], answers: 5 } : { seeds: [1, 2, 3], answers: 20 };
      const results = [];
      for (const seed of seeds) {
        progress(`seed ${seed}`);
        const killAfterMs = new Random(seed).between(1_500, 3_000);
        const running = Object.keys(LIBRARIES).map(async (kind) => {
          const clients = await withTwoInstances({ apps, load, kind }, (ground) =>
            measureOnce(ground, { answers, killAfterMs }),
          );
          results.push(...clients.map((client) => ({ kind, ...client })));
        });
        await Promise.all(running);
      }
      return report(results, { seeds, answers });
    },
  },
};

async function measureOnce({ producer, other, clients }, { answers, killAfterMs }) {
  const ids = newIds(answers);
  const answer = { tokens: TOKENS, perSecond: PER_SECOND, packets: MODEL_PACKETS };
  const begin = (server, paths) =>
    clients.ask({ task: 'begin', port: server.port, paths, timeoutMs: killAfterMs + DEADLINE_MS });
  await begin(
    producer,
    ids.map((id) => pathOfNew(id, answer)),
  );
  await pause(killAfterMs / 2);
  await begin(
    other,
    ids.map((id) => pathOfAgain(id)),
  );
  await pause(killAfterMs / 2);
  await producer.end();
  await pause(AWAY_MS);
  const paths = ids.map((id) => pathOfAgain(id));
  const reloading = clients.ask({ task: 'get', port: other.port, paths, timeoutMs: DEADLINE_MS });
  const reloaded = await reloading;
  const all = await clients.ask('answers');
  const [first, watched] = [all.slice(0, answers), all.slice(answers)];
  return [
    ...reloaded.map((client, n) => judgeClient('reloads', client, first[n])),
    ...watched.map((client, n) => judgeClient('watches', client, first[n])),
  ];
}

/** What a client lacks that the first one has had of the same answer. */
function judgeClient(who, client, first) {
  return {
    who,
    said: saidTo(client),
    had: first.tokens,
    lacks: Math.max(0, first.tokens - client.tokens),
    afterMs: client.wholeMs,
  };
}

function saidTo({ status, ending, tail }) {
  if (ending === 'none') {
    return 'hangs';
  }
  if (status === 204) {
    return 'nothing';
  }
  if (status !== undefined && status !== 200) {
    return 'refused';
  }
  if (ending === 'cut') {
    return 'cut';
  }
  return tail.includes('"error"') ? 'told' : 'silent';
}

function report(results, { seeds, answers }) {
  const rows = Object.keys(CLIENTS).flatMap((who) =>
    Object.entries(LIBRARIES).map(([kind, library]) => {
      const list = results.filter((client) => client.kind === kind && client.who === who);
      const lacking = list.filter(({ lacks }) => lacks > 0);
      const count = (said) => list.filter((client) => client.said === said).length;
      return [
        `a client that ${CLIENTS[who]}`,
        library,
        ...Object.keys(SAID).map((said) => `${count(said)}`),
        `${lacking.length} of ${list.length}`,
        `${list.reduce((sum, { lacks }) => sum + lacks, 0)} of ${list.reduce((sum, { had }) => sum + had, 0)}`,
        secondsUntil(who, list),
      ];
    }),
  );
  const failed = results.some(
    ({ kind, said, lacks }) => kind === 'runs' && (said === 'silent' || said === 'hangs' || lacks > 0),
  );
  const text = [
    `${answers} answers at ${PER_SECOND} tokens a second, each with a client on the instance that makes it, and one on another instance that came`,
    'in the middle; then the process that makes them gets SIGKILL, and a third client asks the other instance for each. What each',
    'is told, and what it lacks of the tokens that the first client had.',
    '',
    table(
      [
        '',
        '',
        ...Object.values(SAID),
        'lack something',
        'tokens that they lack',
        'told after, s (median, most)',
      ],
      rows,
    ),
    '',
    `Seeds of the time of the kill: ${seeds.join(', ')}. Lost, or ended in silence, by this package: ${failed ? '**some**' : 'none'}.`,
  ].join('\n');
  return { text, failed };
}

/** Of those that came after the kill: the others have been there before it. */
function secondsUntil(who, list) {
  const told = list.filter(({ said }) => said !== 'hangs').map(({ afterMs }) => afterMs / 1_000);
  if (who !== 'reloads' || told.length === 0) {
    return '';
  }
  return `${median(told).toFixed(1)}, ${Math.max(...told).toFixed(1)}`;
}
