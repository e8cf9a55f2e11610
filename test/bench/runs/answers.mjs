/** Answers, and who streams them. */
import { startServer } from '../processes.mjs';

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

/** @throws where a client has not had all of its answer */
export function refuseLosses(answers, tokens) {
  const wrong = answers.find((answer) => answer.tokens !== tokens || answer.status !== 200);
  if (wrong)
    throw new Error(`A client has had ${wrong.tokens} tokens of ${tokens}: ${JSON.stringify(wrong)}`);
}
