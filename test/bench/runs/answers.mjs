/** Answers, and who streams them. */
import { startAnswerClients, startServer } from '../processes.mjs';
import { withRedis } from '../redis/servers.mjs';

/** Those that are compared on a Redis. */
export const LIBRARIES = { runs: 'this package', 'resumable-stream': 'resumable-stream' };

/** Tokens as a provider sends them: one to six in a packet. */
export const MODEL_PACKETS = [1, 3, 2, 6, 1, 4, 2, 5];

let ids = 0;

/** Ids that no answer has had. */
export function newIds(count) {
  return Array.from({ length: count }, () => `answer-${(ids += 1)}`);
}

/** @returns {Promise<any>} */
export function startAnswers(apps, kind, config = {}) {
  return startServer(apps[12].answers, { kind, ...config });
}

export function pathOfNew(id, answer) {
  return `/answers/new?id=${id}&answer=${encodeURIComponent(JSON.stringify(answer))}`;
}

export function pathOfAgain(id, skip) {
  return `/answers/again?id=${id}${skip === undefined ? '' : `&skip=${skip}`}`;
}

/** @throws where a client has not had all of its answer */
export function refuseLosses(answers, tokens) {
  const wrong = answers.find((answer) => answer.tokens !== tokens || answer.status !== 200);
  if (wrong) {
    throw new Error(`A client has had ${wrong.tokens} tokens of ${tokens}: ${JSON.stringify(wrong)}`);
  }
}

/**
 * Two instances of an app with a Redis of their own, and clients: what is asked of a Redis is then of one library.
 *
 * @template T
 * @param {{ apps: any, load: any, kind: string, config?: object }} options
 * @param {(ground: { redis: any, producer: any, other: any, clients: any }) => Promise<T>} task
 * @returns {Promise<T>}
 */
export function withTwoInstances({ apps, load, kind, config = {} }, task) {
  return withRedis(load, async (redis) => {
    const start = () => startAnswers(apps, kind, { url: redis.url, ...config });
    const [producer, other, clients] = await Promise.all([start(), start(), startAnswerClients()]);
    try {
      return await task({ redis, producer, other, clients });
    } finally {
      await Promise.all([producer, other, clients].map((process) => process.end()));
    }
  });
}

/** What was asked, with scripts by their names: `{ APPEND: 12, XREAD: 3 }`. */
export function named(counts, scripts) {
  const names = new Map(Object.entries(scripts).map(([name, { digest }]) => [digest, name]));
  return Object.fromEntries(Object.entries(counts).map(([name, count]) => [names.get(name) ?? name, count]));
}

export function sum(counts) {
  return Object.values(counts).reduce((all, count) => all + count, 0);
}
